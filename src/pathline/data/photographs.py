"""Photographs that ship inside scikit-image, read from the installed package without any download."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.pairs import Pairs

FILES = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "hubble": "hubble_deep_field.jpg",
    "moon": "moon.png",
    "page": "page.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
    "tissue": "ihc.png",
}


def folder() -> Path:
    """Where the installed scikit-image keeps its pictures; a `DataError` says how to get it."""
    found = find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise DataError("photographs come with scikit-image, which is not installed: pip install 'pathline[images]'")
    return Path(found.submodule_search_locations[0]) / "data"


def photograph(name: str) -> Tensor:
    """The photograph `name` of `FILES` in colour, (3, height, width) uint8; grey ones have three equal channels."""
    if name not in FILES:
        raise DataError(f"there is no photograph '{name}'; there are {', '.join(FILES)}")
    return _pixels(FILES[name])


def _pixels(file: str) -> Tensor:
    from PIL import Image

    path = folder() / file
    if not path.exists():
        raise DataError(
            f"{path} is missing from scikit-image; install a version from 0.25 on: pip install scikit-image"
        )
    with Image.open(path) as picture:
        return torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1).contiguous()


def stereo_motorcycle(factor: int = 1) -> Pairs:
    """The motorcycle of Middlebury 2014 from the left and from the right, 500 x 741, with its measured disparity.

    A point at x in the left picture is at x - disparity in the right one, so the flow is (-disparity, 0); where the
    disparity is not known the mask is False. Scharstein et al., 2014, "High-Resolution Stereo Datasets with
    Subpixel-Accurate Ground Truth".

    factor: shrinks pictures and motion by so many times.
    """
    left, right = _pixels("motorcycle_left.png"), _pixels("motorcycle_right.png")
    with np.load(folder() / "motorcycle_disp.npz") as archive:
        disparity = torch.from_numpy(archive[archive.files[0]].astype(np.float32))
    valid = torch.isfinite(disparity)
    flow = torch.stack([-disparity.masked_fill(~valid, 0), torch.zeros_like(disparity)])
    pair = Pairs(
        images=torch.stack([left, right])[None], flow=flow[None], valid=valid[None], test_only=True, name="motorcycle"
    )
    return pair if factor == 1 else pair.shrunk(factor)


def particle_images() -> Pairs:
    """Two exposures of particles that a flow carries, 369 x 511 grey: test1 of the installed package openpiv."""
    from pathline.data.readers.pairs import pairs_from_pictures

    found = find_spec("openpiv")
    if found is None or not found.submodule_search_locations:
        raise DataError("'piv-pairs' are read from the package openpiv, which is not installed: pip install openpiv")
    home = Path(found.submodule_search_locations[0]) / "data" / "test1"
    files = sorted(home.glob("*.bmp"))[:2]
    if len(files) < 2:
        raise DataError(
            f"{home} does not hold the two pictures of 'piv-pairs'; install openpiv 0.26: pip install openpiv"
        )
    return pairs_from_pictures(files)
