"""A folder of pictures as samples, by one stated rule.

Each picture is turned upright, laid on white where it is transparent, shrunk or enlarged (Lanczos) so that its shorter
side has `size` pixels, and cut to the square in its middle. Grey and colour values run from -1 (black) to 1 (white).
The folder is grey if all its pictures are. Sub-folders are classes, in alphabetical order; pictures in the folder
itself have no label.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from pathline.data.errors import DataError
from pathline.data.samples import Samples

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

ENDINGS = (".png", ".jpg", ".jpeg")
SIZE = 32
OWN = 64  # pictures that are all squares of one size, of at most so many pixels, stay as they are
GREY = ("1", "L", "LA", "I", "I;16", "F")


def read_images(folder: str | Path, size: int | None = None) -> Samples:
    """All pictures below `folder` as Samples (count, 1 or 3, size, size).

    size: by default that of the pictures if all are squares of one size up to 64, else 32

    Raises:
        DataError: no picture, one that cannot be read, or pictures both in the folder and in its sub-folders.
    """
    folder = Path(folder)
    own, nested = _pictures(folder), {place: _pictures(place) for place in sorted(folder.iterdir()) if place.is_dir()}
    nested = {place: files for place, files in nested.items() if files}
    if own and nested:
        raise DataError(
            f"{folder}: pictures lie both in the folder and in {next(iter(nested))}; put each into the sub-folder of "
            "its class, or all into the folder"
        )
    files = own or [file for inside in nested.values() for file in inside]
    if not files:
        raise DataError(f"{folder}: there is no picture in it ({', '.join(ENDINGS)})")
    if size is not None and size < 1:
        raise DataError(f"{folder}: size is {size} pixels; give at least 1")
    heads = [_head(file) for file in files]
    if size is None:
        (width, height), *others = {head[:2] for head in heads}
        size = width if not others and width == height <= OWN else SIZE
    grey = all(mode in GREY for _, _, mode in heads)
    pixels = np.empty((len(files), size, size) if grey else (len(files), size, size, 3), np.uint8)
    for place, file in enumerate(files):
        pixels[place] = np.asarray(_square(_open(file), size, "L" if grey else "RGB"))
    labels = None if own else torch.arange(len(nested)).repeat_interleave(torch.tensor([*map(len, nested.values())]))
    return pictures_from_bytes(pixels, labels, folder.name)


def pictures_from_bytes(pixels: np.ndarray, labels: torch.Tensor | None, name: str) -> Samples:
    """Bytes (count, height, width) or (count, height, width, channels) as samples with values from -1 to 1."""
    values = torch.from_numpy(pixels).float() / 127.5 - 1
    values = values[:, None] if values.ndim == 3 else values.permute(0, 3, 1, 2).contiguous()
    return Samples(values=values, labels=labels, bounds=(-1.0, 1.0), name=name)


def _pictures(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in ENDINGS and file.is_file())


def _head(file: Path) -> tuple[int, int, str]:
    """Width, height and mode of a picture, without decoding it."""
    from PIL import Image

    with _named(file), Image.open(file) as picture:
        return picture.width, picture.height, picture.mode


def _open(file: Path) -> "Picture":
    """The picture, upright and in memory."""
    from PIL import Image, ImageOps

    with _named(file), Image.open(file) as picture:
        return ImageOps.exif_transpose(picture)


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """What goes wrong with a picture, as a sentence that names it."""
    from PIL import Image

    try:
        yield
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: not a readable picture ({error}); repair or remove it") from None


def _square(picture: "Picture", size: int, mode: str) -> "Picture":
    """The middle of `picture`, `size` x `size`, in `mode`."""
    from PIL import Image

    if picture.mode in ("I", "I;16"):  # 16 bits of grey
        picture = Image.fromarray((np.asarray(picture).astype(np.uint32) // 257).astype(np.uint8))
    if picture.mode in ("LA", "RGBA", "PA") or "transparency" in picture.info:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
    picture = picture.convert(mode)
    scale = size / min(picture.size)
    if scale != 1:
        wanted = max(size, round(picture.width * scale)), max(size, round(picture.height * scale))
        picture = picture.resize(wanted, Image.Resampling.LANCZOS)
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    return picture.crop((left, top, left + size, top + size))
