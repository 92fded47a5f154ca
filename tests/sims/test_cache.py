"""A cached simulation is the simulation: same numbers, run once, and again when its parameters or its code change."""

import pytest
import torch

from pathline.sims import cache
from pathline.sims.cache import cached

runs: list[int] = []


def noise(seed: int, count: int, scale: float = 1.0) -> dict[str, torch.Tensor]:
    """Draws from the global generator, as a simulator should not but may."""
    runs.append(seed)
    torch.manual_seed(seed)
    values = scale * torch.randn(count, 2).double()
    return {"values": values.T, "seed": torch.tensor(seed)}


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHLINE_CACHE", str(tmp_path))
    runs.clear()
    return tmp_path


def test_the_second_time_reads_what_the_first_built(empty_cache):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = cached("noise", noise, seed=3, count=5)
    assert torch.equal(torch.get_rng_state(), state)  # built: the global generator is where it was
    second = cached("noise", noise, seed=3, count=5)
    assert runs == [3]
    for name, tensor in noise(3, 5).items():
        assert torch.equal(first[name], tensor) and torch.equal(second[name], tensor)
        assert second[name].dtype == tensor.dtype
    (file,) = (empty_cache / "simulated").iterdir()  # nothing half-written beside it
    assert file.name.startswith("noise-") and file.suffix == ".safetensors"


def test_other_parameters_and_other_code_are_other_simulations(monkeypatch):
    cached("noise", noise, seed=3, count=5)
    cached("noise", noise, seed=4, count=5)
    cached("noise", noise, seed=3, count=6)
    cached("noise", noise, seed=3, count=5, scale=2.0)
    assert runs == [3, 4, 3, 3]
    monkeypatch.setattr(cache, "_code_behind", lambda module: "corrected")
    cached("noise", noise, seed=3, count=5)
    assert runs == [3, 4, 3, 3, 3]


def test_the_code_behind_a_simulator_reaches_the_modules_that_it_imports():
    assert cache._code_behind("pathline.sims.lattice_boltzmann") != cache._code_behind("pathline.sims.nbody")
    assert cache._file_of("pathline.spaces.signed_distance").name == "signed_distance.py"
    assert cache._file_of("torch") is None and cache._file_of("json") is None
    assert cache._file_of(__name__) is None or cache._file_of(__name__).name == "test_cache.py"


def test_a_file_that_is_damaged_is_built_again(empty_cache):
    first = cached("noise", noise, seed=3, count=5)
    (file,) = (empty_cache / "simulated").iterdir()
    file.write_bytes(file.read_bytes()[:20])
    again = cached("noise", noise, seed=3, count=5)
    assert torch.equal(again["values"], first["values"]) and runs == [3, 3]
    assert torch.equal(cached("noise", noise, seed=3, count=5)["values"], first["values"]) and runs == [3, 3]


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("PATHLINE_CACHE", str(blocked))
    assert torch.equal(cached("noise", noise, seed=3, count=5)["values"], noise(3, 5)["values"])


def test_parameters_that_have_no_text_are_refused():
    with pytest.raises(TypeError):
        cached("noise", noise, seed=3, count=torch.tensor(5))
