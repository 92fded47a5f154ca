"""The built-in event streams."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pathline.data.affinities import Affinities
from pathline.data.events import Events, events_of
from pathline.data.fetch import fetch
from pathline.data.readers.events import read_events
from pathline.graph.temporal import ranks

HOUR = 3600.0


def collegemsg(facts: dict[str, Any]) -> Events:
    """Each message is an event from its sender to its receiver."""
    (path,) = fetch("events-collegemsg", facts)
    return read_events(path)


def bitcoin_otc(facts: dict[str, Any]) -> Events:
    """Each rating is an event; its weight is the rating, from -10 to 10. One row has a broken time and is left out."""
    import pandas as pd
    import torch

    (path,) = fetch("events-bitcoin-otc", facts)
    table = pd.read_csv(path, header=None, names=["source", "target", "rating", "time"])
    table["time"] = pd.to_numeric(table["time"], errors="coerce")
    table = table.dropna()
    source, target = (torch.tensor(table[column].to_numpy(int)) for column in ("source", "target"))
    return events_of(
        source,
        target,
        torch.tensor(table["time"].to_numpy(float)),
        weight=torch.tensor(table["rating"].to_numpy(float)),
    )


def primary_school(facts: dict[str, Any]) -> Events:
    """Each 20 seconds face to face are an event, once where it is listed in both directions; the class of a child, or
    "teachers", is one-hot in its features."""
    import pandas as pd
    import torch

    contacts, classes = fetch("events-primary-school", facts)
    events = read_events(contacts, directed=0)
    low, high = torch.minimum(events.source, events.target), torch.maximum(events.source, events.target)
    listed = torch.stack([events.time, low, high], 1)
    _, group = torch.unique(listed, dim=0, return_inverse=True)
    before, _ = ranks(group)
    events = events.keep(before == 0)
    table = pd.read_csv(classes).set_index("index")["class"]
    kinds = sorted(table.unique())
    index = torch.tensor([kinds.index(table[int(name)]) for name in events.names])
    features = torch.nn.functional.one_hot(index, len(kinds)).float()
    return replace(events, node_features=features)


def hospital(facts: dict[str, Any]) -> Events:
    """Each 20 seconds face to face are an event; the role of a person is one-hot in the node's features."""
    (path,) = fetch("events-hospital", facts)
    return read_events(path, directed=0)


def hospital_hours(facts: dict[str, Any]) -> Affinities:
    return Affinities(events=hospital(facts), period=HOUR)


def _drifting_preferences(facts: dict[str, Any]) -> Affinities:
    from pathline.sims.event_streams import drifting_preferences

    return drifting_preferences()


def _triangle_closing(facts: dict[str, Any]) -> Events:
    from pathline.sims.event_streams import triangle_closing

    return triangle_closing()


LOADERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "events-collegemsg": collegemsg,
    "events-bitcoin-otc": bitcoin_otc,
    "events-primary-school": primary_school,
    "events-hospital": hospital,
    "hospital-hours": hospital_hours,
    "drifting-preferences": _drifting_preferences,
    "triangle-closing": _triangle_closing,
}
