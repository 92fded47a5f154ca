"""Simulated event streams whose rules are known: preferences that drift, and triangles that close."""

from collections import deque
from random import Random

import torch

from pathline.data.affinities import Affinities
from pathline.data.events import Events


def drifting_preferences(
    sources: int = 60,
    targets: int = 40,
    periods: int = 40,
    events: int = 12_000,
    concentration: float = 0.1,
    redrawn: float = 0.05,
    seed: int = 0,
) -> Affinities:
    """Sources that turn to targets by a taste of their own, which some of them change in every period.

    p_u ~ Dirichlet(concentration, ..., concentration) over the targets; at the beginning of a period a source draws its
    p_u anew with probability `redrawn`. Each event has a uniform source, its target is drawn from p_u, and its time is
    uniform in its period, which lasts 1. All periods have equally many events (those that are left over go to none).
    """
    generator = torch.Generator().manual_seed(seed)
    each = events // periods
    anew = torch.rand(periods, sources, generator=generator) < redrawn
    anew[0] = True
    gamma = torch._standard_gamma(torch.full((periods, sources, targets), concentration), generator=generator)
    since = torch.where(anew, torch.arange(periods)[:, None], 0).cummax(0).values
    taste = (gamma + 1e-30)[since, torch.arange(sources)]
    source = torch.randint(sources, (periods, each), generator=generator)
    taste_of = taste[torch.arange(periods)[:, None], source].flatten(0, 1)
    target = torch.multinomial(taste_of, 1, generator=generator).flatten()
    within = torch.rand(periods, each, generator=generator, dtype=torch.float64).sort(1).values
    time = (torch.arange(periods)[:, None] + within).flatten()
    stream = Events(
        source=source.flatten(),
        target=sources + target,
        time=time,
        nodes=sources + targets,
        names=tuple([f"source {k}" for k in range(sources)] + [f"target {k}" for k in range(targets)]),
        senders=sources,
        origin=0.0,
        unit="periods",
        name="drifting-preferences",
    )
    return Affinities(events=stream, period=1.0, name="drifting-preferences")


def triangle_closing(
    nodes: int = 200, events: int = 10_000, closing: float = 0.7, recent: int = 20, seed: int = 0
) -> Events:
    """Contacts that close triangles: with probability `closing`, the next event joins the open ends of two events that
    share a node, u-a and a-v, both among the last `recent` ones, where u-v is not; otherwise it joins two nodes at
    random.

    They are to be predicted a quarter of `recent` at once, or what closes would never be known.
    Events have no direction and happen one unit of time apart. Every event depends on the `recent` ones before it, so
    they are drawn one by one; all pairs of events that share a node are candidates, each equally likely.
    """
    draw = Random(seed)
    window: deque[tuple[int, int]] = deque(maxlen=recent)
    drawn: list[tuple[int, int]] = []
    for _ in range(events):
        pair = None
        if draw.random() < closing:
            open_ends = _open_ends(list(window))
            pair = draw.choice(open_ends) if open_ends else None
        if pair is None:
            pair = (draw.randrange(nodes), draw.randrange(nodes - 1))
            pair = (pair[0], pair[1] + (pair[1] >= pair[0]))
        elif draw.random() < 0.5:
            pair = (pair[1], pair[0])
        window.append(pair)
        drawn.append(pair)
    source, target = torch.tensor(drawn).T.contiguous()
    return Events(
        source=source,
        target=target,
        time=torch.arange(events),
        nodes=nodes,
        directed=False,
        unit="events",
        batch=max(1, recent // 4),
        name="triangle-closing",
    )


def _open_ends(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(u, v) for every two of `pairs` that share one node, and whose other two are not one of `pairs` themselves."""
    joined = {frozenset(pair) for pair in pairs}
    touching: dict[int, list[int]] = {}
    for u, v in pairs:
        touching.setdefault(u, []).append(v)
        touching.setdefault(v, []).append(u)
    return [
        (ends[i], ends[j])
        for ends in touching.values()
        for i in range(len(ends))
        for j in range(i + 1, len(ends))
        if ends[i] != ends[j] and frozenset((ends[i], ends[j])) not in joined
    ]
