"""Claims are judged by their margins, and evidence knows when it no longer belongs to the code."""

import json

import pytest

from pathline.core import claim as module
from pathline.core.claim import Claim, at_least, at_most, read_evidence, record, run_claim, source_fingerprint
from pathline.core.errors import MethodError


class Halved(Claim):
    """Ours halves the error of theirs."""

    system, baselines = "meanflow", ("flow-matching",)
    metric = "error"
    require = (at_most("ours", 0.5, "theirs"),)
    ours, theirs = (1.0, 1.1, 0.9), (2.2, 2.4, 2.6)

    def run(self, seed):
        return {"ours": self.ours[seed], "theirs": self.theirs[seed], "reported only": 7.0}


def verdict(**changes):
    return run_claim(type("Other", (Halved,), {**changes, "__module__": __name__})(), log=False).verdict


def test_a_claim_holds_when_the_mean_clears_the_margin_and_every_seed_points_the_right_way():
    assert verdict() == "holds"
    assert verdict(require=(at_most("ours", 0.3, "theirs"),)) == "falls short"
    assert verdict(ours=(0.1, 0.1, 2.7)) == "falls short"  # the mean is fine, one seed is on the wrong side


def test_a_margin_on_each_seed_is_stricter_than_one_in_the_mean():
    ours = (1.2, 1.1, 0.9)  # the first is above half of 2.2
    assert verdict(ours=ours) == "holds"
    assert verdict(ours=ours, require=(at_most("ours", 0.5, "theirs", each_seed=True),)) == "falls short"


def test_not_being_much_worse_asks_no_direction_of_the_seeds():
    near = {"ours": (2.3, 2.4, 2.5), "require": (at_most("ours", 1.03, "theirs"),)}
    assert verdict(**near) == "holds"
    assert verdict(**near | {"require": (at_most("ours", 1.0, "theirs"),)}) == "falls short"


def test_constants_offsets_and_higher_is_better():
    assert verdict(require=(at_most("ours", 1.05),)) == "holds"
    assert verdict(require=(at_most("ours", 0.95),)) == "falls short"
    assert verdict(require=(at_most("theirs", 1.0, "ours", plus=1.5),)) == "holds"
    assert verdict(require=(at_least("theirs", 2.0, "ours"),)) == "holds"
    assert verdict(require=(at_least("ours", 1.0, "theirs"),)) == "falls short"


def test_a_required_arm_that_run_does_not_return_is_named():
    with pytest.raises(MethodError, match="requires an arm 'mine', but run\\(\\) returned ours, theirs"):
        verdict(require=(at_most("mine", 1.0),))


def test_evidence_keeps_every_number_and_comes_back_equal(tmp_path):
    evidence = run_claim(Halved(), log=False)
    path = record(evidence, tmp_path)
    document = json.loads(path.read_text())
    assert document["arms"] == {"ours": [1.0, 1.1, 0.9], "theirs": [2.2, 2.4, 2.6], "reported only": [7.0] * 3}
    assert document["margin"][0]["requirement"] == "ours <= 0.5 x theirs, in the mean"
    (back,) = read_evidence(tmp_path)
    assert back.arms == evidence.arms and back.verdict == "holds"


def test_a_fingerprint_changes_with_code_and_not_with_words(tmp_path):
    file = tmp_path / "claim.py"
    texts = ['"""Words."""\nx = 1  # why\n', '"""Other words."""\n\nx = 1\n', "x = 2\n"]
    prints = []
    for text in texts:
        file.write_text(text)
        prints.append(source_fingerprint([file]))
    assert prints[0] == prints[1] != prints[2]


def test_what_a_claim_tried_is_words_but_what_it_requires_is_code(tmp_path):
    file = tmp_path / "claim.py"
    prints = []
    for body in ("tried = ('a',)\n    require = 1", "require = 1", "tried = 'b'\n    require = 2"):
        file.write_text(f"class One:\n    {body}\n")
        prints.append(source_fingerprint([file]))
    assert prints[0] == prints[1] != prints[2]


def test_evidence_whose_method_changed_is_stale(tmp_path, monkeypatch):
    record(run_claim(Halved(), log=False), tmp_path)
    claim_file = module.Path(module.__file__).parents[1] / "claims" / "generate" / "meanflow.py"
    if not claim_file.exists():
        assert read_evidence(tmp_path)[0].stale
        return
    document = json.loads((tmp_path / "meanflow.json").read_text())
    files = module.claim_files(claim_file, "meanflow", ("flow-matching",))
    document["fingerprint"] = source_fingerprint(files)
    (tmp_path / "meanflow.json").write_text(json.dumps(document))
    assert not read_evidence(tmp_path)[0].stale
    monkeypatch.setattr(module, "claim_files", lambda *_: files[:-1])
    assert read_evidence(tmp_path)[0].stale
