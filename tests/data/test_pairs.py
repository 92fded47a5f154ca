"""Pairs of pictures: what the container refuses, how it is parted, and every file it is read from."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pathline.core.source import open_data
from pathline.data import DataError, Pairs, read
from pathline.data.readers.flow_files import read_flo, read_kitti, write_flo
from pathline.data.readers.video import frames_of


def made(count=10, height=16, width=24, **options):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 2, 3, height, width), generator=generator, dtype=torch.uint8)
    flow = torch.randn(count, 2, height, width, generator=generator)
    return Pairs(**{"images": images, "flow": flow, "name": "made"} | options)


def picture(path, seed=0, width=24, height=16, mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


# -- the container ----------------------------------------------------------------------------------------------------


def test_a_batch_is_brightness_from_0_to_1_with_flow_and_mask():
    pairs = made()
    batch = pairs.gather(torch.tensor([3, 1]))
    torch.testing.assert_close(batch.images, pairs.images[[3, 1]].float() / 255)
    assert torch.equal(batch.flow, pairs.flow[[3, 1]]) and bool(batch.valid.all()) and len(batch) == 2
    assert replace(pairs, flow=None).gather(torch.tensor([0])).flow is None


def test_unknown_flow_may_hold_anything_and_is_0_in_a_batch():
    valid = torch.ones(10, 16, 24, dtype=torch.bool)
    valid[0, 0, 0] = False
    flow = made().flow.clone()
    flow[0, :, 0, 0] = torch.inf
    batch = made(flow=flow, valid=valid).gather(torch.tensor([0]))
    assert batch.flow[0, :, 0, 0].tolist() == [0, 0] and not bool(batch.valid[0, 0, 0])
    with pytest.raises(DataError, match=r"made: flow\[0, 0, 0, 0\] is inf"):
        made(flow=flow)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"images": torch.zeros(3, 2, 4, 16, 16)}, r"made: images have shape \(3, 2, 4, 16, 16\)"),
        ({"images": torch.zeros(0, 2, 3, 16, 16)}, "made: there is no pair"),
        ({"images": torch.zeros(1, 2, 3, 4, 16)}, "made: pictures are 4 x 16"),
        ({"images": torch.full((10, 2, 3, 16, 24), 7.0)}, "made: brightness runs from 7 to 7"),
        ({"images": torch.full((10, 2, 3, 16, 24), torch.nan)}, r"made: image\[0, 0, 0, 0, 0\] is nan"),
        ({"flow": torch.zeros(10, 2, 16, 25)}, r"the flow has shape \(10, 2, 16, 25\); expected \(10, 2, 16, 24\)"),
        ({"flow": None, "valid": torch.ones(10, 16, 24).bool()}, "made: there is a mask of validity but no flow"),
        ({"valid": torch.ones(10, 16, 25).bool()}, r"made: the mask has shape \(10, 16, 25\)"),
    ],
)
def test_what_does_not_fit_is_named(change, sentence):
    with pytest.raises(DataError, match=sentence):
        made(**change)


def test_pairs_are_parted_at_random_films_by_time_and_fixed_parts_as_they_are():
    split = made(20).split(seed=1)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [16, 2, 2]
    film = made(20, consecutive=True).split()
    assert torch.equal(film.test.images, made(20).images[-2:]) and torch.equal(film.train.images, made(20).images[:16])
    fixed = made(4, parts=torch.tensor([2, 0, 1, 0])).split()
    assert torch.equal(fixed.train.images, made(4).images[[1, 3]])
    assert torch.equal(fixed.test.images, made(4).images[[0]])


def test_one_or_two_pairs_are_for_testing_and_teach_nothing():
    pairs = made(2)
    assert pairs.teaches
    split = pairs.split()
    assert len(split.train) == len(split.test) == 2 and not split.train.teaches
    assert not replace(made(), flow=None).teaches


def test_shrinking_averages_brightness_and_known_flow_in_larger_pixels():
    valid = torch.ones(10, 16, 24, dtype=torch.bool)
    valid[0, :2, 0] = False  # half of the first block
    valid[0, :4, 4:6] = False
    pairs = made(valid=valid)
    small = pairs.shrunk(2)
    assert small.size == (8, 12)
    block = pairs.images[0, 0, :, :2, :2].float().mean((1, 2)) / 255
    torch.testing.assert_close(small.images[0, 0, :, 0, 0], block)
    torch.testing.assert_close(small.flow[0, :, 0, 0], pairs.flow[0, :, :2, 1].mean(1) / 2)
    assert bool(small.valid[0, 0, 0]) and not bool(small.valid[0, 0, 2])


def test_crops_are_tiles_of_the_middle():
    pairs = made(2, height=21, width=34)
    tiles = pairs.crops(8, 16)
    assert len(tiles) == 2 * 2 * 2 and tiles.size == (8, 16)
    assert torch.equal(tiles.images[1], pairs.images[0, :, :, 2:10, 17:33])
    assert torch.equal(tiles.flow[6], pairs.flow[1, :, 10:18, 1:17])
    with pytest.raises(DataError, match="no crop of 50 x 50"):
        pairs.crops(50, 50)


# -- files ------------------------------------------------------------------------------------------------------------


def test_flo_files_come_back_and_are_laid_out_as_middlebury_says(tmp_path):
    flow = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(3, 5, dtype=torch.bool)
    valid[1, 2] = False
    write_flo(tmp_path / "a.flo", flow, valid)
    content = (tmp_path / "a.flo").read_bytes()
    assert content[:4] == b"PIEH" and struct.unpack("<ii", content[4:12]) == (5, 3) and len(content) == 12 + 8 * 15
    assert struct.unpack("<ff", content[12 + 8 : 12 + 16]) == pytest.approx(flow[:, 0, 1].tolist())
    found, known = read_flo(tmp_path / "a.flo")
    assert torch.equal(known, valid) and torch.equal(found, flow * valid)


def test_a_broken_flo_file_is_named(tmp_path):
    (tmp_path / "a.flo").write_bytes(b"nonsense, but long")
    with pytest.raises(DataError, match=r"a\.flo: not a \.flo file"):
        read_flo(tmp_path / "a.flo")
    write_flo(tmp_path / "b.flo", torch.zeros(2, 3, 5))
    (tmp_path / "b.flo").write_bytes((tmp_path / "b.flo").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"b\.flo: 5 x 3 pixels need 132 bytes, but the file has 131"):
        read_flo(tmp_path / "b.flo")


@pytest.mark.parametrize("rule", [0, 1, 2, 3, 4])
def test_kittis_png_keeps_16_bits_under_every_filter_of_the_format(tmp_path, rule):
    generator = np.random.default_rng(rule)
    values = generator.integers(0, 65536, (5, 7, 3)).astype(">u2")
    values[..., 2] = generator.integers(0, 2, (5, 7))
    raw = values.reshape(5, -1).view(np.uint8).reshape(5, 42).astype(int)
    rows, above = [], np.zeros(42, int)
    for row in raw:  # the five filters, written out byte by byte
        out = bytearray([rule])
        for i, byte in enumerate(row):
            left, up, corner = (row[i - 6] if i > 5 else 0), above[i], (above[i - 6] if i > 5 else 0)
            start = left + up - corner
            paeth = min((left, up, corner), key=lambda c: abs(start - c))
            out.append((byte - (0, left, up, (left + up) // 2, paeth)[rule]) % 256)
        rows.append(bytes(out))
        above = row

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 7, 5, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    (tmp_path / "flow.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    flow, valid = read_kitti(tmp_path / "flow.png")
    expected = (values[..., :2].astype(np.float32) - 32768) / 64
    assert torch.equal(valid, torch.tensor(values[..., 2].astype(int) > 0))
    torch.testing.assert_close(flow, torch.tensor(expected).permute(2, 0, 1) * valid)


def test_two_pictures_are_a_pair_and_a_flo_its_truth(tmp_path):
    paths = [str(picture(tmp_path / f"{name}.png", seed)) for seed, name in enumerate("ab")]
    pair = open_data(paths, "perceive")
    assert isinstance(pair, Pairs) and pair.images.shape == (1, 2, 3, 16, 24) and not pair.consecutive
    assert pair.images[0, 1].permute(1, 2, 0).numpy().tolist() == np.asarray(Image.open(paths[1])).tolist()
    write_flo(tmp_path / "truth.flo", torch.ones(2, 16, 24))
    told = read([*paths, str(tmp_path / "truth.flo")], "Pairs")
    assert float(told.flow.min()) == 1
    assert read(paths, "Pairs", size=12).size == (8, 12)
    with pytest.raises(DataError, match=r"truth\.flo: pictures with a true flow are not resized"):
        read([*paths, str(tmp_path / "truth.flo")], "Pairs", size=12)


def test_a_folder_holds_pairs_by_their_names_or_consecutive_frames(tmp_path):
    pairs, film = tmp_path / "pairs", tmp_path / "film"
    pairs.mkdir(), film.mkdir()
    for seed, name in enumerate(("x_0", "x_1", "y_0", "y_1")):
        picture(pairs / f"{name}.png", seed, mode="L")
    for name in "xy":
        write_flo(pairs / f"{name}.flo", torch.full((2, 16, 24), float(ord(name))))
    found = open_data(str(pairs), "perceive", task="flow")
    assert len(found) == 2 and found.images.shape[2] == 1 and not found.consecutive
    assert found.flow[:, 0, 0, 0].tolist() == [ord("x"), ord("y")]
    for seed in range(5):
        picture(film / f"frame{seed}.png", seed)
    frames = read(film, "Pairs")
    assert len(frames) == 4 and frames.consecutive
    assert torch.equal(frames.images[1:, 0], frames.images[:-1, 1])


def test_a_folder_with_a_lonely_picture_or_of_several_sizes_is_refused(tmp_path):
    for name in ("x_0", "x_1", "y_0"):
        picture(tmp_path / f"{name}.png")
    with pytest.raises(DataError, match=r"y_0\.png: it has no partner"):
        read(tmp_path, "Pairs")
    (tmp_path / "y_0.png").unlink()
    picture(tmp_path / "x_1.png", width=30)
    with pytest.raises(DataError, match=r"x_1\.png: it is 30 x 16, but x_0\.png is 24 x 16"):
        read(tmp_path, "Pairs")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: there is no picture"):
        read(tmp_path / "empty", "Pairs")


def test_an_archive_of_arrays(tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (3, 2, 16, 24), dtype=np.uint8)
    flow = generator.normal(size=(3, 2, 16, 24))
    flow[0, 0, 0, 0] = np.nan
    np.savez(tmp_path / "a.npz", images=images, flow=flow)
    pairs = open_data(str(tmp_path / "a.npz"), "perceive")
    assert isinstance(pairs, Pairs) and pairs.images.shape == (3, 2, 1, 16, 24)
    assert not bool(pairs.valid[0, 0, 0]) and int((~pairs.valid).sum()) == 1
    np.savez(tmp_path / "b.npz", pictures=images)
    with pytest.raises(DataError, match=r"b\.npz: there is no array 'images'; the archive has pictures"):
        read(tmp_path / "b.npz", "Pairs")


def test_a_film_is_its_frames(tmp_path):
    generator = np.random.default_rng(0)
    frames = [Image.fromarray(generator.integers(0, 256, (16, 24, 3), dtype=np.uint8)).quantize(64) for _ in range(6)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:], duration=100, loop=0)
    found, rate = frames_of(tmp_path / "film.gif", limit=4)
    assert found.shape == (4, 3, 16, 24) and found.dtype == torch.uint8 and rate == 10.0
    assert found[1].permute(1, 2, 0).numpy().tolist() == np.asarray(frames[1].convert("RGB")).tolist()
    assert frames_of(tmp_path / "film.gif", size=12)[0].shape == (6, 3, 8, 12)
    pairs = open_data(str(tmp_path / "film.gif"), "perceive", task="flow", frames=3)
    assert len(pairs) == 2 and pairs.consecutive
    assert open_data(str(tmp_path / "film.gif"), "perceive", task="flow", size=12).size == (8, 12)


def test_mp4_is_read_with_pyav(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "film.mp4"), "w") as film:
        stream = film.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for grey in (40, 80, 120, 160):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24")
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    frames, rate = frames_of(tmp_path / "film.mp4", size=32)
    assert frames.shape == (4, 3, 24, 32) and rate == 25.0
    assert (frames.float().mean((1, 2, 3)) - torch.tensor([40.0, 80.0, 120.0, 160.0])).abs().max() < 4
    (tmp_path / "broken.mp4").write_bytes(b"no film at all")
    with pytest.raises(DataError, match=r"broken\.mp4: not a readable film"):
        frames_of(tmp_path / "broken.mp4")
