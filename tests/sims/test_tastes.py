"""Simulated tastes: ratings that follow genres, and shops whose degrees follow their laws."""

import torch

from pathline.sims.power_law_tastes import power_law_tastes
from pathline.sims.signed_taste import signed_taste


def test_a_user_likes_its_genre_but_for_the_noise_and_rates_both() -> None:
    data = signed_taste(300, 200, 20, noise=0.1, seed=3)
    table = torch.zeros(300, 200).index_put((data.user, data.item), data.rating)
    assert len(data) == 6000 and abs(float(data.positive.float().mean()) - 0.5) < 0.03
    left, _, right = torch.linalg.svd(table, full_matrices=False)
    taste, genre = left[:, 0].sign(), right[0].sign()
    fits = (taste[data.user] * genre[data.item] == data.rating).float().mean()
    assert max(float(fits), 1 - float(fits)) > 0.85, "a sign for each user and item explains all but the noise"
    clean = signed_taste(300, 200, 20, noise=0.0, seed=3)
    assert 0.07 < float((clean.rating != data.rating).float().mean()) < 0.13 and torch.equal(clean.item, data.item)


def test_purchases_are_counted_exactly_differ_and_follow_zipf_and_the_log_normal() -> None:
    data = power_law_tastes(40_000, 8000, 4000, exponent=1.0, spread=0.8, seed=1)
    assert len(data) == 40_000 == len(data.key.unique())
    items = torch.bincount(data.item, minlength=4000).double()
    rank = torch.arange(10, 300, dtype=torch.float64)
    x, y = rank.add(1).log(), items[10:300].log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    assert abs(float(slope) + 1) < 0.12
    users = torch.bincount(data.user, minlength=8000).double()
    over = (users.var() / users.mean() - 1) / users.mean()  # of a Poisson mixture: the variance of exp(0.8 z) / mean^2
    assert abs(float(over) - (torch.tensor(0.64).exp().item() - 1)) < 0.35
    assert power_law_tastes(100, 20, 30, seed=0).fingerprint() == power_law_tastes(100, 20, 30, seed=0).fingerprint()
