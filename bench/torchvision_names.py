"""Make torchvision importable beside a torch without CUDA.

Its wheels on PyPI are built for torch with CUDA; beside another torch the compiled operators cannot be loaded, and
importing the package fails on their names. What is measured here does not use them: importing this module first makes
the names known.
"""

import contextlib

import torch

OPERATORS = (
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

kept = torch.library.Library("torchvision", "FRAGMENT")  # the names live as long as this does
for operator in OPERATORS:
    with contextlib.suppress(RuntimeError):  # they are there where the compiled part could be loaded
        kept.define(operator)
