"""Films as frames, by one stated rule.

Frames are read from the beginning, `limit` of them at most, in colour, and never enlarged: where the longer side has
more than `size` pixels, both sides shrink by the same factor (area average) until it has. gif files are read with
Pillow; mp4, avi, mov, mkv and webm need PyAV, the extra `video`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.pairs import Pairs, consecutive_pairs

ENDINGS = (".gif", ".mp4", ".avi", ".mov", ".mkv", ".webm")
SIZE, LIMIT = 320, 61  # of a film that becomes pairs, unless its reader says otherwise


def frames_of(path: str | Path, size: int | None = None, limit: int | None = None) -> tuple[Tensor, float]:
    """The frames (frames, 3, height, width) uint8 of a film, and how many there are a second (0 if it does not say).

    Args:
        size:  pixels of the longer side at most; None keeps the film's own.
        limit: frames at most, from the beginning; None reads all.

    Raises:
        DataError: the file is no film, has no frame, or PyAV is not installed.
    """
    path = Path(path)
    if (size is not None and size < 1) or (limit is not None and limit < 1):
        raise DataError(f"{path}: size {size} and limit {limit} must be at least 1")
    rate, frames = _gif(path) if path.suffix.lower() == ".gif" else _film(path)
    kept: list[Tensor] = []
    for frame in frames:
        kept.append(_shrunk(frame, size))
        if limit is not None and len(kept) == limit:
            break
    if not kept:
        raise DataError(f"{path}: there is no frame in it; bring a film that plays")
    return torch.stack(kept), rate


def pairs_from_film(path: Path, size: int | None = None, frames: int | None = None) -> Pairs:
    """Neighbouring frames of a film as pairs; by default its first 61 frames, the longer side shrunk to 320 pixels."""
    found, _ = frames_of(path, size or SIZE, frames or LIMIT)
    return consecutive_pairs(found, path.stem)


def _shrunk(frame: np.ndarray, size: int | None) -> Tensor:
    height, width = frame.shape[:2]
    if size is not None and max(height, width) > size:
        from PIL import Image

        factor = size / max(height, width)
        wanted = max(1, round(width * factor)), max(1, round(height * factor))
        frame = np.asarray(Image.fromarray(frame).resize(wanted, Image.Resampling.BOX))
    return torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))


def _gif(path: Path) -> tuple[float, Iterator[np.ndarray]]:
    from PIL import Image, ImageSequence

    try:
        film = Image.open(path)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable gif ({error}); convert it anew") from None
    duration = film.info.get("duration", 0)

    def frames() -> Iterator[np.ndarray]:
        with film:
            for frame in ImageSequence.Iterator(film):
                yield np.asarray(frame.convert("RGB"))

    return (1000 / duration if duration else 0.0), frames()


def _film(path: Path) -> tuple[float, Iterator[np.ndarray]]:
    try:
        import av
    except ModuleNotFoundError:
        raise DataError(
            f"{path}: films are read with PyAV, which is not installed: pip install 'pathline[video]'"
        ) from None
    try:
        container = av.open(str(path))
        stream = container.streams.video[0]
    except (av.FFmpegError, IndexError, OSError) as error:
        raise DataError(f"{path}: not a readable film ({error}); convert it to mp4") from None

    def frames() -> Iterator[np.ndarray]:
        with container:
            try:
                for frame in container.decode(stream):
                    yield frame.to_ndarray(format="rgb24")
            except av.FFmpegError as error:
                raise DataError(f"{path}: the film breaks off ({error}); convert it anew") from None

    return float(stream.average_rate or 0), frames()
