"""What scikit-image brings along: photographs, and a stereo pair whose disparity is a motion."""

import pytest
import torch

from pathline.data import DataError, load
from pathline.data import photographs as module
from pathline.data.photographs import FILES, photograph, stereo_motorcycle
from pathline.perceive.flow_estimation import photometric_error

pytest.importorskip("skimage")


def test_every_photograph_is_there_in_colour():
    for name in FILES:
        picture = photograph(name)
        assert picture.dtype == torch.uint8 and picture.shape[0] == 3 and min(picture.shape[1:]) >= 300 - 120, name
    with pytest.raises(DataError, match="no photograph 'cat'"):
        photograph("cat")


def test_without_scikit_image_one_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'pathline\[images\]'"):
        photograph("coffee")


def test_the_motorcycle_moves_to_the_left_by_its_disparity():
    """The right picture drawn back along the flow is the left one, and not along its opposite."""
    pair = stereo_motorcycle()
    assert pair.size == (500, 741) and not pair.teaches
    assert 0.9 < float(pair.valid.float().mean()) < 0.96
    known = pair.flow[0, 0][pair.valid[0]]
    assert float(known.max()) < -7 and float(known.min()) > -60
    images = pair.gather(torch.tensor([0])).images
    right, wrong, still = (float(photometric_error(images, sign * pair.flow)) for sign in (1, -1, 0))
    assert right < 0.6 * still < 0.6 * wrong


def test_shrunk_five_times_it_moves_by_up_to_twelve_pixels():
    pair = load("stereo-motorcycle")
    assert pair.size == (100, 148) and pair.name == "stereo-motorcycle"
    assert 11 < float(pair.flow[0, 0][pair.valid[0]].abs().max()) <= 12
