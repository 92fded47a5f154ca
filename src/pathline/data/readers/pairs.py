"""Pairs of pictures from files, by one stated rule.

Two files are one pair; a third, .flo or KITTI's png, is its true flow; more pictures are consecutive frames. In a
folder, sorted by name, pictures that are called `NAME_0` and `NAME_1` (also `_img1` and `_img2`, `_10` and `_11`) are
one pair each, with its true flow in `NAME.flo` or `NAME_flow.flo` where there is such a file; pictures called
otherwise are consecutive frames. All pictures have one size. Pictures are grey if all are, otherwise in colour.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.pairs import Pairs, consecutive_pairs
from pathline.data.readers.flow_files import read_flo, read_kitti
from pathline.data.readers.npz import read_npz

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".webp")
FIRST, SECOND = ("0", "img1", "10"), ("1", "img2", "11")
NAME = re.compile(r"(.+)_(0|1|img1|img2|10|11)")
GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "F")


def pairs_from_pictures(paths: list[Path], size: int | None = None) -> Pairs:
    """Two pictures and perhaps their true flow, or consecutive frames. size: as for `read_pictures`."""
    truths = [path for path in paths if path.suffix.lower() == ".flo"]
    pictures = [path for path in paths if path not in truths]
    if len(paths) == 3 and not truths and _is_flow(paths[2]):
        pictures, truths = paths[:2], paths[2:]
    if len(pictures) < 2:
        raise DataError(f"{paths[0]}: motion needs two pictures; give the second one too")
    if truths and (len(truths) > 1 or len(pictures) > 2):
        raise DataError(f"{truths[0]}: one flow goes with two pictures; put more of them into a folder")
    if truths:
        _refuse_size(truths[0], size)
    images = read_pictures(pictures, size)
    name = pictures[0].stem
    if len(pictures) > 2:
        return consecutive_pairs(images, name)
    flow, valid = (None, None) if not truths else _stacked([read_flow(truths[0])])
    return Pairs(images=images[None], flow=flow, valid=valid, name=name)


def pairs_from_folder(folder: Path, size: int | None = None) -> Pairs:
    """A folder of pairs, or of consecutive frames."""
    files = sorted(file for file in Path(folder).iterdir() if file.suffix.lower() in ENDINGS and file.is_file())
    named = {(match[1], match[2]): file for file in files if (match := NAME.fullmatch(file.stem))}
    stems = [stem for stem, part in named if part in FIRST]
    couples: list[tuple[str, list[Path]]] = []
    for stem in stems:
        both = [named[stem, part] for parts in (FIRST, SECOND) for part in parts if (stem, part) in named]
        if len(both) == 2:
            couples.append((stem, both))
    if not couples:
        return consecutive_pairs(read_pictures(files, size), Path(folder).name) if files else _nothing(folder)
    if 2 * len(couples) != len(files):
        inside = {file for _, both in couples for file in both}
        lonely = next(file for file in files if file not in inside)
        raise DataError(f"{lonely}: it has no partner among NAME_0 and NAME_1; remove it, or name all frames plainly")
    images = read_pictures([file for _, both in couples for file in both], None)
    truths = [_truth(Path(folder), stem) for stem, _ in couples]
    known = [path for path in truths if path is not None]
    if known and len(known) < len(couples):
        missing = couples[truths.index(None)][0]
        raise DataError(f"{folder}: pair {missing} has no {missing}.flo, but others have one; bring all or none")
    if not known and size is not None:
        images = read_pictures([file for _, both in couples for file in both], size)
    elif known:
        _refuse_size(known[0], size)
    flow, valid = _stacked([read_flow(path) for path in known]) if known else (None, None)
    return Pairs(images=images.unflatten(0, (-1, 2)), flow=flow, valid=valid, name=Path(folder).name)


def pairs_from_archive(path: Path) -> Pairs:
    """An npz archive: `images` (n, 2, channels, height, width) or (n, 2, height, width), and perhaps `flow`
    (n, 2, height, width) in pixels, x first, and `valid` (n, height, width)."""
    arrays = read_npz(path)
    if "images" not in arrays:
        raise DataError(f"{path}: there is no array 'images'; the archive has {', '.join(arrays) or 'none'}")
    unknown = [name for name in arrays if name not in ("images", "flow", "valid")]
    if unknown:
        raise DataError(f"{path}: array '{unknown[0]}' has no meaning here; there are images, flow and valid")
    images = torch.from_numpy(arrays["images"])
    images = images if images.dtype == torch.uint8 else images.float()
    found: dict[str, Any] = {"images": images[:, :, None] if images.ndim == 4 else images, "name": path.stem}
    if "flow" in arrays:
        flow = torch.from_numpy(arrays["flow"]).float()
        valid = torch.isfinite(flow).all(1)
        if "valid" in arrays:
            valid &= torch.from_numpy(arrays["valid"]).bool()
        found |= {"flow": torch.where(valid[:, None], flow, torch.zeros(())), "valid": valid}
    return Pairs(**found)


def read_pictures(files: list[Path], size: int | None) -> Tensor:
    """Pictures of one size as (count, 1 or 3, height, width) bytes, upright.

    size: where the longer side has more pixels, both sides shrink by one factor (area average) until it has so many

    Raises:
        DataError: one cannot be read, or they differ in size; the message names it.
    """
    from PIL import Image, ImageOps

    if size is not None and size < 1:
        raise DataError(f"{files[0]}: size is {size} pixels; give at least 1")
    opened: list[Any] = []
    for file in files:
        try:
            with Image.open(file) as picture:
                opened.append(ImageOps.exif_transpose(picture))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{file}: not a readable picture ({error}); repair or remove it") from None
    for file, picture in zip(files, opened, strict=True):
        if picture.size != opened[0].size:
            raise DataError(
                f"{file}: it is {picture.width} x {picture.height}, but {files[0].name} is {opened[0].width} x "
                f"{opened[0].height}; all pictures must have one size"
            )
    grey = all(picture.mode in GREY for picture in opened)
    scale = 1.0 if size is None else min(1.0, size / max(opened[0].size))
    wanted = tuple(max(1, round(side * scale)) for side in opened[0].size)
    pixels = []
    for picture in opened:
        plain = _plain(picture, "L" if grey else "RGB")
        shrunk = plain if plain.size == wanted else plain.resize((wanted[0], wanted[1]), Image.Resampling.BOX)
        array = np.asarray(shrunk)
        pixels.append(array[None] if grey else array.transpose(2, 0, 1))
    return torch.from_numpy(np.stack(pixels))


def _plain(picture: Any, mode: str) -> Any:
    """8 bits per channel; 16 bits of grey, and pictures of floats, are spread over what they hold at most."""
    from PIL import Image

    if picture.mode in ("I", "I;16", "I;16B", "F"):
        array = np.asarray(picture).astype(np.float64)
        top = 65535.0 if picture.mode != "F" and array.max() > 255 else max(255.0, float(array.max()))
        picture = Image.fromarray((array.clip(0) * (255 / top)).astype(np.uint8))
    return picture.convert(mode)


def read_flow(path: Path) -> tuple[Tensor, Tensor]:
    """True flow from .flo or KITTI's png."""
    return read_flo(path) if path.suffix.lower() == ".flo" else read_kitti(path)


def _truth(folder: Path, stem: str) -> Path | None:
    candidates = (folder / f"{stem}.flo", folder / f"{stem}_flow.flo")
    return next((path for path in candidates if path.exists()), None)


def _stacked(truths: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    if len({flow.shape for flow, _ in truths}) > 1:
        raise DataError(f"true flows have several sizes, {sorted({tuple(f.shape[1:]) for f, _ in truths})}; bring one")
    return torch.stack([flow for flow, _ in truths]), torch.stack([valid for _, valid in truths])


def _refuse_size(path: Path, size: int | None) -> None:
    if size is not None:
        raise DataError(f"{path}: pictures with a true flow are not resized; leave --size out")


def _is_flow(path: Path) -> bool:
    """Whether a png has three channels of 16 bits, as KITTI's flow has."""
    if path.suffix.lower() != ".png":
        return False
    with open(path, "rb") as file:
        head = file.read(26)
    return len(head) == 26 and head[24] == 16 and head[25] == 2


def _nothing(folder: Path) -> Pairs:
    raise DataError(f"{folder}: there is no picture in it ({', '.join(ENDINGS)})")
