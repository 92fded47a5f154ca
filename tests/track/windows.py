"""What tests of trackers look at: windows of the tiny data, and networks whose heads do not start at 0."""

from dataclasses import replace

import torch

from pathline.core.tiny import tiny_tracks


def window(count):
    """`count` windows, every third one."""
    return tiny_tracks().gather(torch.arange(0, 3 * count, 3))


def permuted(given, order):
    """The same windows with their agents in another order."""
    names = ("past", "past_observed", "future", "future_observed", "agent")
    return replace(given, **{name: getattr(given, name)[:, order] for name in names})


def awake(cls, **config):
    """A network that has forgotten that its head starts at 0."""
    method = cls.seeded(tiny_tracks(), 0, **config)
    torch.manual_seed(1)
    for name, weight in method.named_parameters():
        if name.endswith(("head.2.weight", "modulation.weight")):
            torch.nn.init.normal_(weight, std=0.3)
    return method.eval()
