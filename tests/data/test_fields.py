"""The container of fields: what follows from what, honest splits, and sentences for what does not fit."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from pathline.core.source import open_data
from pathline.data import DataError, Fields
from pathline.data.fields import fields_of_arrays
from pathline.data.readers.field_arrays import read_deepcfd, read_field_arrays


def numbered(items: int, frames: int, channels: int = 2, **options) -> Fields:
    """Every value says where it stands: item, frame and channel as digits."""
    item, frame, channel = torch.meshgrid(*map(torch.arange, (items, frames, channels)), indexing="ij")
    values = (100 * item + 10 * frame + channel)[..., None, None].expand(-1, -1, -1, 4, 5).float()
    return Fields(values=values, **({"name": "numbered"} | options))


def test_where_time_passes_the_target_stands_span_frames_after_the_state():
    data = numbered(3, 6, span=2, interval=0.5)
    assert len(data) == 3 * 4 and not data.steady
    frame = data.gather(torch.tensor([0, 5, 11]))
    assert frame.state[:, :, 0, 0].tolist() == [[0, 1], [110, 111], [230, 231]]
    assert frame.target[:, :, 0, 0].tolist() == [[20, 21], [130, 131], [250, 251]]
    assert frame.duration == 1.0 and frame.inputs.shape == (3, 0, 4, 5) and frame.inside.all()
    assert torch.equal(frame.seen, frame.state)


def test_steady_fields_follow_from_the_inputs_alone():
    inputs = torch.arange(4.0)[:, None, None, None].expand(-1, 3, 4, 5)
    data = numbered(4, 1, inputs=inputs)
    frame = data.gather(torch.tensor([2]))
    assert data.steady and len(data) == 4 and frame.state.shape == (1, 0, 4, 5)
    assert torch.equal(frame.seen, inputs[2:3]) and frame.target[0, :, 0, 0].tolist() == [200, 201]


def test_outside_values_are_zero_and_may_be_anything_before():
    inside = torch.ones(2, 4, 5, dtype=torch.bool)
    inside[:, 0] = False
    values = torch.full((2, 3, 1, 4, 5), 7.0)
    values[:, :, :, 0] = torch.nan
    data = Fields(values=values, inside=inside)
    assert torch.equal(data.values[0, 0, 0], 7.0 * inside[0])
    again = fields_of_arrays(values, "gaps")
    assert torch.equal(again.inside, inside) and again.fingerprint() == data.fingerprint()


def test_items_are_split_whole_and_a_single_one_by_time():
    split = numbered(20, 4).split(seed=1)
    parts = [set((part.values[:, 0, 0, 0, 0] // 100).tolist()) for part in (split.train, split.validation, split.test)]
    assert [len(part) for part in parts] == [16, 2, 2] and len(set.union(*parts)) == 20
    split = numbered(1, 40).split()
    frames = [part.values[0, :, 0, 0, 0] / 10 for part in (split.train, split.validation, split.test)]
    assert torch.equal(torch.cat(frames), torch.arange(40.0)) and [len(part) for part in frames] == [28, 4, 8]
    short = numbered(1, 9, span=2).split()
    assert [len(part) for part in (short.train, short.validation, short.test)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"values": torch.zeros(3, 4, 5)}, "expected \\(items, frames, channels, height, width\\)"),
        ({"inputs": torch.zeros(2, 1, 4, 5)}, "inputs have shape"),
        ({"inside": torch.zeros(3, 4, 5).bool()}, "item 0 has no cell inside"),
        ({"inside": torch.ones(4, 5).bool()}, "inside has shape"),
        ({"channels": ("u",)}, "1 names \\(u\\) for 2 fields"),
        ({"x": torch.zeros(4)}, "coordinates have shape"),
        ({"span": 6}, "6 frames do not hold a step of 6"),
        ({"interval": 0.0}, "must be above 0"),
        ({"values": torch.full((3, 6, 2, 4, 5), torch.inf)}, "value\\[0, 0, 0, 0, 0\\] is inf"),
    ],
)
def test_what_does_not_fit_is_named(changes, sentence):
    with pytest.raises(DataError, match=sentence) as refused:
        replace(numbered(3, 6, channels=2), **({"channels": ("a", "b"), "name": "mine"} | changes))
    assert "mine" in str(refused.value)


def test_nothing_to_learn_and_too_little_to_split_are_named():
    with pytest.raises(DataError, match="one frame and no inputs"):
        numbered(5, 1)
    with pytest.raises(DataError, match="bring at least 3 items, or 6 frames"):
        numbered(1, 5).split()
    with pytest.raises(DataError, match="2 steady items cannot be split"):
        numbered(2, 1, inputs=torch.zeros(2, 1, 4, 5)).split()


def test_an_archive_is_read_by_its_arrays(tmp_path):
    path = tmp_path / "waves.npz"
    values = np.random.default_rng(0).normal(size=(3, 5, 2, 4, 6)).astype(np.float32)
    values[1, :, :, 2, 3] = np.nan
    np.savez(path, values=values, inputs=np.ones((3, 1, 4, 6)), x=np.arange(6), interval=0.25)
    data = open_data(str(path), "simulate")
    assert isinstance(data, Fields) and data.interval == 0.25 and data.name == "waves"
    assert int((~data.inside).sum()) == 1 and not data.inside[1, 2, 3]
    np.testing.assert_array_equal(data.values.numpy(), np.nan_to_num(values))
    positions = tmp_path / "bodies.npz"
    np.savez(positions, positions=np.zeros((4, 3, 2, 3)))
    assert type(open_data(str(positions), "simulate")).__name__ == "Rollouts"
    np.savez(path, other=np.ones(3))
    with pytest.raises(DataError, match="there is no array 'values'; the archive has other"):
        read_field_arrays(path)


def test_the_published_pair_of_pickles_is_read_with_rows_across(tmp_path):
    generator = np.random.default_rng(0)
    inputs, flow = generator.normal(size=(2, 5, 3, 17, 8))
    inputs[:, 1] = 1
    inputs[:, 1, 4:6, 2:4] = 0
    for name, array in (("dataX.pkl", inputs), ("dataY.pkl", flow)):
        (tmp_path / name).write_bytes(pickle.dumps(array))
    data = open_data(str(tmp_path), "simulate", "Fields")
    assert data.channels == ("Ux", "Uy", "p") and data.grid == (8, 17) and data.steady and len(data) == 5
    np.testing.assert_allclose(data.inputs[2, 0], inputs[2, 0].T.astype(np.float32))
    assert int((~data.inside[0]).sum()) == 4 and not data.values[:, :, :, 2:4, 4:6].any()
    np.testing.assert_allclose(data.values[3, 0, 1, 5], flow[3, 1, :, 5].astype(np.float32))
    (tmp_path / "dataY.pkl").unlink()
    with pytest.raises(DataError, match=r"there is no dataY\.pkl"):
        read_deepcfd(tmp_path)
