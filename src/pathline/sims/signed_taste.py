"""Users who like one of two genres and dislike the other, and say so about a few items of both."""

import torch

from pathline.data.interactions import Interactions


def signed_taste(
    users: int = 600, items: int = 400, each: int = 12, noise: float = 0.1, seed: int = 0, name: str = "signed-taste"
) -> Interactions:
    """Every user rates `each` random items: 1 for its genre, -1 for the other, the other way round with chance `noise`.

    A graph of who rated what says nothing of likes by itself: half of a user's edges are dislikes. The threshold is 0.
    """
    generator = torch.Generator().manual_seed(seed)
    taste = torch.randint(2, (users,), generator=generator)
    genre = torch.randint(2, (items,), generator=generator)
    item = torch.rand(users, items, generator=generator).topk(each, 1).indices
    liked = taste[:, None] == genre[item]
    liked ^= torch.rand(users, each, generator=generator) < noise
    return Interactions(
        user=torch.arange(users).repeat_interleave(each),
        item=item.flatten(),
        rating=torch.where(liked, 1.0, -1.0).flatten(),
        users=tuple(f"user {number}" for number in range(users)),
        items=tuple(f"item {number}" for number in range(items)),
        threshold=0.0,
        name=name,
    )
