"""When a signal begins: the ratio of short- to long-term averages, autoregression, and Akaike's criterion.

    recursive averages   STA_k = c x_k^2 + (1 - c) STA_{k-1},   c = 1 / samples of the short window; likewise LTA
    AIC of an onset k    k log var(e_before) + (n - k - 1) log var(e_after)

Withers et al., 1998, Bull. Seism. Soc. Am. 88; Sleeman, van Eck, 1999, Phys. Earth Planet. Inter. 113.
"""

import torch
from torch import Tensor

TINY = 1e-20


def recursive_sta_lta(signals: Tensor, short: int, long: int) -> Tensor:
    """STA / LTA of `signals` (..., samples); 0 in the first `long` samples, where the long average is not yet known."""
    from scipy.signal import lfilter

    energy = signals.double().square().numpy()
    averages = [lfilter([1 / n], [1, 1 / n - 1], energy, axis=-1) for n in (short, long)]
    ratio = torch.from_numpy(averages[0] / (averages[1] + TINY)).float()
    ratio[..., :long] = 0.0
    return ratio


def triggers(curves: Tensor, threshold: float, quiet: int) -> tuple[Tensor, Tensor]:
    """Where `curves` (count, samples) rise to `threshold`, and no earlier rise was taken within `quiet` samples before.

    Returns:
        curve, index: (triggers,) int64, ordered by curve and place.
    """
    above = curves >= threshold
    rise = above.clone()
    rise[:, 1:] &= ~above[:, :-1]
    curve, index = torch.nonzero(rise, as_tuple=True)
    place = curve * (curves.shape[1] + quiet + 1) + index
    kept, following = [], 0
    jump = torch.searchsorted(place, place + quiet, right=True).tolist()  # the next one that is far enough
    while following < len(place):
        kept.append(following)
        following = jump[following]
    chosen = torch.tensor(kept, dtype=torch.int64)
    return curve[chosen], index[chosen]


def autoregression(stretches: Tensor, order: int) -> Tensor:
    """Coefficients (batch, order) that predict each sample of `stretches` (batch, samples) from those before it, by
    the Yule-Walker equations, slightly regularised."""
    x = stretches.double()
    n = x.shape[-1]
    lags = torch.stack([(x[:, lag:] * x[:, : n - lag]).sum(-1) for lag in range(order + 1)], dim=-1) / n
    distance = (torch.arange(order)[:, None] - torch.arange(order)).abs()
    ridge = (1e-6 * lags[:, :1] + TINY)[..., None] * torch.eye(order, dtype=torch.float64)
    return torch.linalg.solve(lags[:, distance] + ridge, lags[:, 1:])


def prediction_errors(signals: Tensor, coefficients: Tensor) -> Tensor:
    """What `coefficients` (batch, order) leave unexplained of `signals` (batch, samples); the first `order` samples,
    which cannot be predicted, are 0."""
    order = coefficients.shape[-1]
    past = signals.double().unfold(-1, order, 1)[:, :-1].flip(-1)
    errors = signals[:, order:].double() - torch.einsum("bno,bo->bn", past, coefficients)
    return torch.nn.functional.pad(errors, (order, 0))


def aic_onset(before: Tensor, after: Tensor, margin: int) -> Tensor:
    """Akaike's criterion of every onset: (batch, samples), infinite within `margin` of both ends.

    before, after: (batch, samples) prediction errors under the model of the noise and under that of the signal
    """
    n = before.shape[-1]
    sums = before.square().cumsum(-1)
    tails = after.square().flip(-1).cumsum(-1).flip(-1)
    k = torch.arange(1, n, dtype=torch.float64)
    criterion = k * torch.log(sums[:, :-1] / k + TINY) + (n - k - 1) * torch.log(tails[:, 1:] / (n - k) + TINY)
    criterion = torch.nn.functional.pad(criterion, (1, 0), value=torch.inf)
    criterion[:, :margin] = torch.inf
    criterion[:, n - margin :] = torch.inf
    return criterion
