"""Pictures, text and points that a generator learns from. Facts are in datasets.toml."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathline.data.errors import DataError

if TYPE_CHECKING:
    from pathline.data.samples import Samples

FASHION = Path("/usr/share/datasets/fashion-mnist")
STRETCH = 32  # letters of one sample of text


def _digits() -> "Samples":
    """Pixels scaled from 0 .. 16 to -1 .. 1."""
    import torch
    from sklearn.datasets import load_digits

    from pathline.data.samples import Samples

    table = load_digits()
    pixels = torch.tensor(table.images).float()[:, None] / 8 - 1
    return Samples(values=pixels, labels=torch.tensor(table.target).long(), bounds=(-1.0, 1.0))


def _binary_digits() -> "Samples":
    """1 where a digit has at least half of the ink, 0 elsewhere."""
    digits = _digits()
    return replace(digits, values=(digits.values >= 0).float(), bounds=(0.0, 1.0), levels=2)


def _pydoc_text() -> "Samples":
    """Lower-case letters and single spaces, cut into stretches; the text is that of the running version of Python."""
    import re
    from pydoc_data.topics import topics

    import torch

    from pathline.data.samples import Samples

    alphabet = " abcdefghijklmnopqrstuvwxyz"
    text = re.sub(r"[^a-z]+", " ", " ".join(topics[key] for key in sorted(topics)).lower())
    text = text[: len(text) // STRETCH * STRETCH]
    places = torch.tensor([alphabet.index(letter) for letter in text]).view(-1, STRETCH)
    return Samples(values=places.float(), symbols=tuple(alphabet))


def _fashion_mnist() -> "Samples":
    """Pixels scaled from 0 .. 255 to -1 .. 1; the 60,000 training pictures come first."""
    import gzip

    import numpy
    import torch

    from pathline.data.samples import Samples

    if not FASHION.exists():
        raise DataError(
            f"'fashion-mnist' is read from {FASHION}, which is not there: install the Debian package "
            "dataset-fashion-mnist, or use the built-in 'digits'"
        )

    def idx(name: str, header: int) -> Any:
        with gzip.open(FASHION / name) as file:
            return numpy.frombuffer(file.read(), numpy.uint8, offset=header)

    pixels = [idx(f"{part}-images-idx3-ubyte.gz", 16) for part in ("train", "t10k")]
    labels = [idx(f"{part}-labels-idx1-ubyte.gz", 8) for part in ("train", "t10k")]
    values = torch.tensor(numpy.concatenate(pixels)).float().view(-1, 1, 28, 28) / 127.5 - 1
    return Samples(values=values, labels=torch.tensor(numpy.concatenate(labels)).long(), bounds=(-1.0, 1.0))


def _points(law: str) -> "Callable[[], Samples]":
    def build() -> "Samples":
        from pathline.sims.points import points

        return points(law, 10_000, seed=0)

    return build


SAMPLE_SETS: dict[str, Callable[[], Any]] = {
    "digits": _digits,
    "binary-digits": _binary_digits,
    "pydoc-text": _pydoc_text,
    "fashion-mnist": _fashion_mnist,
    "two-moons": _points("two-moons"),
    "checkerboard": _points("checkerboard"),
    "eight-gaussians": _points("eight-gaussians"),
}
