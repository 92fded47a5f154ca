"""Who had what in a large shop: items as popular as Zipf's law says, users as active as a log-normal law says."""

import torch

from pathline.data.interactions import Interactions


def power_law_tastes(
    interactions: int, users: int, items: int, exponent: float = 1.0, spread: float = 0.8, seed: int = 0
) -> Interactions:
    """Exactly `interactions` different pairs, or a few less if the shop is nearly sold out; no tastes, only degrees.

    exponent: item number r is chosen with probability proportional to r^-exponent;  spread: of the logarithm of degrees
    """
    generator = torch.Generator().manual_seed(seed)
    active = (spread * torch.randn(users, generator=generator, dtype=torch.float64)).exp().cumsum(0)
    liked = torch.arange(1, items + 1, dtype=torch.float64).pow(-exponent).cumsum(0)
    key = torch.zeros(0, dtype=torch.int64)
    for _ in range(20):
        wanted = interactions - len(key)
        if wanted <= 0:
            break
        draws = torch.rand(2, 2 * wanted + 16, generator=generator, dtype=torch.float64)
        user = torch.searchsorted(active, draws[0] * active[-1]).clamp(max=users - 1)
        item = torch.searchsorted(liked, draws[1] * liked[-1]).clamp(max=items - 1)
        fresh = torch.cat([key, user * items + item]).unique()
        key = fresh[torch.randperm(len(fresh), generator=generator)[:interactions]]
    key = key.sort().values
    return Interactions(
        user=key // items,
        item=key % items,
        users=tuple(map(str, range(users))),
        items=tuple(map(str, range(items))),
        name=f"power-law-{interactions}",
    )
