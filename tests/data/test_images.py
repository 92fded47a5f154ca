"""Folders of pictures and byte arrays as samples: the rule that the reader states, and its sentences."""

import numpy as np
import pytest
import torch
from PIL import Image

from pathline.data import DataError, read


def picture(path, width, height, colour=(255, 0, 0), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (width, height), colour).save(path)
    return path


def test_pictures_of_any_size_become_squares_with_values_between_minus_one_and_one(tmp_path):
    picture(tmp_path / "a.png", 40, 80)
    picture(tmp_path / "b.JPG", 300, 20, (0, 255, 0))
    data = read(tmp_path, "Samples")
    assert data.shape == (3, 32, 32) and len(data) == 2 and data.labels is None and data.bounds == (-1.0, 1.0)
    assert data.values[0, 0].min() == 1 and data.values[0, 1:].max() == -1
    assert read(tmp_path, "Samples", size=8).shape == (3, 8, 8)


def test_the_middle_is_kept(tmp_path):
    pixels = np.zeros((10, 30), np.uint8)
    pixels[:, 10:20] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    Image.fromarray(pixels.T.copy()).save(tmp_path / "tall.png")
    data = read(tmp_path, "Samples", size=10)
    assert data.shape == (1, 10, 10) and bool((data.values == 1).all())


def test_small_squares_of_one_size_stay_as_they_are(tmp_path):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (3, 12, 12), dtype=np.uint8)
    for place, one in enumerate(pixels):
        Image.fromarray(one).save(tmp_path / f"{place}.png")
    data = read(tmp_path, "Samples")
    assert torch.equal(data.values[:, 0], torch.tensor(pixels).float() / 127.5 - 1)


def test_a_shrunken_picture_keeps_its_mean_instead_of_picking_pixels(tmp_path):
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    assert read(tmp_path, "Samples", size=16).values[0, 0, 4:-4, 4:-4].abs().max() < 0.05


def test_pictures_are_turned_upright_and_laid_on_white(tmp_path):
    tall = Image.new("RGB", (10, 20), "red")
    tall.paste("blue", (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    tall.save(tmp_path / "a.jpg", exif=exif, quality=100)
    picture(tmp_path / "b.png", 5, 5, (0, 0, 0, 0), "RGBA")
    data = read(tmp_path, "Samples", size=10)
    assert data.values[0, 0, 1:4].mean() > 0.8 and data.values[0, 2, 6:9].mean() > 0.8  # red above blue now
    assert data.values[1].min() == 1


def test_sub_folders_are_classes_in_alphabetical_order(tmp_path):
    for name, grey in (("cats", 0), ("dogs", 255)):
        for k in range(2):
            picture(tmp_path / name / f"{k}.png", 8, 8, grey, "L")
    (tmp_path / "notes").mkdir()
    data = read(tmp_path, "Samples")
    assert data.labels.tolist() == [0, 0, 1, 1] and data.values.mean((1, 2, 3)).tolist() == [-1, -1, 1, 1]


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="no picture"):
        read(tmp_path, "Samples")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nonsense")
    with pytest.raises(DataError, match=r"broken\.png"):
        read(tmp_path, "Samples")
    picture(tmp_path / "in" / "fine.png", 4, 4)
    with pytest.raises(DataError, match="both in the folder"):
        read(tmp_path, "Samples")
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path, "Series")
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    with pytest.raises(DataError, match="goes with pictures"):
        read(tmp_path / "x.npy", "Samples", size=8)


def test_arrays_of_numbers_and_of_bytes(tmp_path):
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.save(tmp_path / "rows.npy", values)
    assert torch.equal(read(tmp_path / "rows.npy", "Samples").values, torch.tensor(values))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 6, 3), dtype=np.uint8)
    np.save(tmp_path / "last.npy", pixels)
    np.savez(tmp_path / "first.npz", x=np.moveaxis(pixels, 3, 1), y=np.arange(4))
    last, first = read(tmp_path / "last.npy", "Samples"), read(tmp_path / "first.npz", "Samples")
    assert last.shape == first.shape == (3, 6, 6) and torch.equal(last.values, first.values)
    assert last.bounds == (-1.0, 1.0) and first.labels.tolist() == [0, 1, 2, 3]


def test_arrays_that_are_not_numbers_are_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(DataError, match=r"objects\.npy"):
        read(tmp_path / "objects.npy", "Samples")
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(DataError, match=r"text\.npy"):
        read(tmp_path / "text.npy", "Samples")
