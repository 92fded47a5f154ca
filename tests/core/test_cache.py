"""A cached training is the training: same numbers, trained once, and again when anything that decides it changes."""

import pytest
import torch

from pathline.core import cache
from pathline.core.budget import minutes, steps
from pathline.core.cache import imported_files, trained
from pathline.core.errors import MethodError
from pathline.generate.flow_matching import FlowMatching
from pathline.sims.points import points

DATA = points("two-moons", 300, 0)
SMALL = {"classes": 0, "width": 16, "depth": 1}


@pytest.fixture
def fits(tmp_path, monkeypatch) -> list[int]:
    """Counts trainings; the cache is empty and in a folder of its own."""
    monkeypatch.setenv("PATHLINE_CACHE", str(tmp_path))
    count, fit = [], FlowMatching.fit
    monkeypatch.setattr(FlowMatching, "fit", lambda *a, **k: (count.append(1), fit(*a, **k))[1])
    return count


def test_the_second_time_reads_what_the_first_trained(fits):
    torch.manual_seed(5)
    first = trained(FlowMatching, DATA, 3, steps(20), SMALL, lr=2e-3, precision="fp32")
    after = torch.rand(1)
    torch.manual_seed(5)
    second = trained(FlowMatching, DATA, 3, steps(20), SMALL, lr=2e-3, precision="fp32")
    assert torch.equal(torch.rand(1), after)  # hit and miss leave the global generator alone
    plain = FlowMatching.seeded(DATA, 3, **SMALL).fit(DATA, steps(20), seed=3, lr=2e-3, precision="fp32")
    assert len(fits) == 2
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, first.state_dict()[name]) and torch.equal(tensor, second.state_dict()[name])
    assert second.config == plain.config and second.training_record.steps == 20
    assert second.training_record.loss == first.training_record.loss
    assert torch.equal(second.sample(5), plain.sample(5))


def test_everything_that_decides_the_weights_is_in_the_name(fits, monkeypatch):
    def train(data=DATA, seed=0, count=2, config=SMALL, **recipe):
        trained(FlowMatching, data, seed, steps(count), config, **recipe)

    variants = [
        {},
        {"seed": 1},
        {"count": 3},
        {"config": {**SMALL, "depth": 2}},
        {"lr": 1e-4},
        {"data": points("two-moons", 300, 1)},
    ]
    for variant in [*variants, *variants]:
        train(**variant)
    assert len(fits) == len(variants)
    monkeypatch.setattr(cache, "_source", lambda module: "another source")
    train()
    assert len(fits) == len(variants) + 1


def test_the_sources_are_those_that_the_method_imports_and_no_others():
    files = {str(path.relative_to(cache.PACKAGE)) for path in imported_files(FlowMatching.__module__)}
    needed = {"generate/flow_matching.py", "generate/networks.py", "nn/mlp.py", "core/train.py", "flow/velocity.py"}
    assert needed <= files
    assert not any(name.startswith(("forecast", "claims", "cli")) for name in files)


def test_a_broken_file_or_folder_costs_time_only(fits, tmp_path, monkeypatch):
    trained(FlowMatching, DATA, 0, steps(2), SMALL)
    (file,) = (tmp_path / "trained").iterdir()
    file.write_bytes(b"not a tensor")
    trained(FlowMatching, DATA, 0, steps(2), SMALL)
    assert len(fits) == 2
    trained(FlowMatching, DATA, 0, steps(2), SMALL)
    assert len(fits) == 2  # and was repaired
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("PATHLINE_CACHE", str(blocked))
    trained(FlowMatching, DATA, 0, steps(2), SMALL)
    assert len(fits) == 3


def test_a_training_by_the_clock_is_refused():
    with pytest.raises(MethodError, match="minutes"):
        trained(FlowMatching, DATA, 0, minutes(1), SMALL)
