"""Films, folders of frames and archives as clips to go on with, by one stated rule.

A film or a folder is one clip: its first 200 frames, the longer side shrunk to 64 pixels and never enlarged, with
pixels from 0 to 1. A folder's pictures are its frames in the order of their names.
"""

from pathlib import Path

import torch

from pathline.data.clips import Clips
from pathline.data.errors import DataError
from pathline.data.readers.npz import read_npz
from pathline.data.readers.pairs import ENDINGS, read_pictures
from pathline.data.readers.video import frames_of

SIZE, LIMIT = 64, 200


def clips_from_film(
    path: Path, size: int | None = None, frames: int | None = None, history: int = 4, horizon: int = 6
) -> Clips:
    """A film as one clip.

    Args:
        size: pixels of the longer side at most; frames: how many are read at most, from the beginning.
    """
    found, rate = frames_of(path, size or SIZE, frames or LIMIT)
    return Clips(frames=found[None].float() / 255, history=history, horizon=horizon, rate=rate or None, name=path.stem)


def clips_from_folder(
    folder: Path, size: int | None = None, frames: int | None = None, history: int = 4, horizon: int = 6
) -> Clips:
    """A folder of pictures as one clip."""
    files = sorted(file for file in Path(folder).iterdir() if file.suffix.lower() in ENDINGS and file.is_file())
    if not files:
        raise DataError(f"{folder}: there is no picture in it; bring frames as {', '.join(ENDINGS)}")
    images = read_pictures(files[: frames or LIMIT], size or SIZE)
    return Clips(frames=images[None].float() / 255, history=history, horizon=horizon, name=Path(folder).name)


def clips_from_archive(path: Path, history: int = 4, horizon: int = 6) -> Clips:
    """An npz archive with `frames` (clips, time, channels, height, width) or (clips, time, height, width), as bytes or
    as numbers, and perhaps `labels` (clips,)."""
    arrays = read_npz(path)
    if "frames" not in arrays:
        raise DataError(f"{path}: there is no array 'frames'; the archive has {', '.join(arrays) or 'none'}")
    frames = torch.from_numpy(arrays["frames"])
    if frames.ndim == 4:
        frames = frames[:, :, None]
    scaled = frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()
    labels = None if "labels" not in arrays else torch.from_numpy(arrays["labels"]).long()
    return Clips(frames=scaled, labels=labels, history=history, horizon=horizon, name=path.stem)
