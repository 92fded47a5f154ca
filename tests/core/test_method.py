"""Method: its captured config, its disk form, and the sentences it refuses with."""

import json
import sys
from pathlib import Path

import pytest
import torch

from pathline.core import store
from pathline.core.checks import check_loss_goes_down, check_method, check_same_seed_same_numbers
from pathline.core.errors import DataError, MethodError, RunError
from pathline.core.method import Method
from pathline.core.tiny import tiny_samples

sys.path.insert(0, str(Path(__file__).parent))
from toy import Denoiser, samples


def test_the_config_holds_every_argument_with_its_default_as_json():
    class Wider(Denoiser):
        def __init__(self, columns: int, sizes: tuple[int, ...] = (3, 4), **extra: int) -> None:
            super().__init__(columns, width=sizes[0])

    assert Denoiser(4, width=8).config == {"columns": 4, "width": 8}
    assert Wider(4).config == {"columns": 4, "sizes": [3, 4]}
    assert Denoiser.settings() == ("columns", "width")


def test_an_argument_that_json_cannot_hold_is_refused():
    class Odd(Denoiser):
        def __init__(self, function=torch.relu) -> None:
            super().__init__()

    with pytest.raises(MethodError, match="Odd: constructor arguments must be JSON values"):
        Odd()


def test_a_saved_method_comes_back_equal_and_in_eval_mode(tmp_path):
    method = Denoiser.seeded(samples(), 0)
    method.save(tmp_path)
    loaded = Denoiser.load(tmp_path)
    assert not loaded.training and loaded.config == method.config
    assert all(torch.equal(a, b) for a, b in zip(method.parameters(), loaded.parameters(), strict=True))
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}


def test_what_is_loaded_is_data_and_never_code(tmp_path):
    Denoiser.seeded(samples(), 0).save(tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    document |= {"class": "os:system", "method": "rm -rf"}
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(MethodError, match="There is no method 'rm -rf'"):
        Method.load(tmp_path)


def test_broken_run_folders_are_named(tmp_path):
    with pytest.raises(RunError, match=r"is not a run folder: it has no config\.json"):
        Denoiser.load(tmp_path)
    method = Denoiser.seeded(samples(), 0)
    method.save(tmp_path)
    (tmp_path / store.WEIGHTS).write_bytes(b"half a file")
    with pytest.raises(RunError, match="cannot be read"):
        Denoiser.load(tmp_path)
    (tmp_path / store.WEIGHTS).unlink()
    with pytest.raises(RunError, match=r"has no model\.safetensors; fit the method again"):
        Denoiser.load(tmp_path)
    (tmp_path / store.CONFIG).write_text("{")
    with pytest.raises(RunError, match="not valid JSON"):
        Denoiser.load(tmp_path)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "result.json"
    store.write_json(path, {"a": 1})
    with pytest.raises(ZeroDivisionError), store.replacing(path) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_the_wrong_container_is_named():
    from pathline.core.tiny import tiny_series

    with pytest.raises(DataError, match="Denoiser learns from Samples, but tiny-series is Series"):
        Denoiser.require(tiny_series())


def test_the_contract_notices_a_method_that_does_not_learn_or_does_not_repeat():
    class Idle(Denoiser):
        def loss(self, batch):
            return super().loss(batch)["loss"] * 0 + 1

    class Restless(Denoiser):
        count = 0

        def evaluate(self, data, seed=0):
            Restless.count += 1
            return {"error": float(Restless.count)}

    with pytest.raises(AssertionError, match="40 steps on one batch"):
        check_loss_goes_down(Idle, tiny_samples())
    with pytest.raises(AssertionError, match="evaluate is not repeatable"):
        check_same_seed_same_numbers(Restless, tiny_samples())
    with pytest.raises(AssertionError):
        check_method(Idle)
