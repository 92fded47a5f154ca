"""PyG objects in and out: `Data` and lists or datasets of them, as the containers of the room `graphs`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pathline.data.errors import DataError
from pathline.data.graph import Graph
from pathline.data.graph_batch import GraphData, check_edges, simple_edges
from pathline.data.graph_list import Graphs, graphs_of
from pathline.data.hypergraph import Hypergraph
from pathline.data.links import Links


def is_pyg(value: Any) -> bool:
    """Whether `value` is a PyG Data object, or a sequence or data set of them."""
    if _is_one(value) or hasattr(value, "to_data_list"):
        return True
    return (
        hasattr(value, "__len__")
        and hasattr(value, "__getitem__")
        and not isinstance(value, (str, dict))
        and (len(value) > 0 and is_pyg(value[0]))
    )


def _is_one(value: Any) -> bool:
    """Whether it is a Data object; a data set or a batch of several has an edge_index too."""
    several = isinstance(value, (Dataset, GraphData)) or getattr(value, "ptr", None) is not None
    return not several and hasattr(value, "edge_index") and hasattr(value, "num_nodes")


def from_pyg(value: Any, task: str | None = None, name: str = "data") -> GraphData:
    """A Data object, or a list or data set of them.

    One with `y` of a number per node is a `Graph` (train_mask, val_mask and test_mask are its published split), one
    with `hyperedge_index` and `y` per incidence a `Hypergraph`, one without `y` (or for predict-links) `Links`; several
    are `Graphs`, whose `y` are classes if whole numbers and targets otherwise. An edge counts in the directions in
    which it is given.

    Raises:
        DataError: `y` has no such shape.
    """
    data: GraphData
    if not _is_one(value):
        value = value.to_data_list() if hasattr(value, "to_data_list") else value
        if len(value) > 1 or task in ("classify-graphs", "regress-graphs"):
            return _graphs([value[k] for k in range(len(value))], task, name)
        value = value[0]
    if task in ("classify-graphs", "regress-graphs"):
        return _graphs([value], task, name)
    count = int(value.num_nodes)
    features = _features(value, count)
    labels = getattr(value, "y", None)
    if getattr(value, "hyperedge_index", None) is not None:
        incidence = value.hyperedge_index.long()
        labels = torch.full((incidence.shape[1],), -1) if labels is None else labels
        data = Hypergraph(
            incidence=incidence,
            features=features,
            labels=_whole(labels, incidence.shape[1], "incidences", name),
            classes=_classes(labels),
            sets=int(incidence[1].max()) + 1 if incidence.numel() else 0,
            name=name,
        )
    elif task == "predict-links" or (labels is None and task is None):
        check_edges(value.edge_index.long(), count, name)
        edge_index, weight, _ = simple_edges(value.edge_index.long(), False, _weight(value))
        data = Links(edge_index=edge_index, features=features, weight=weight, name=name)
    else:
        labels = torch.full((count,), -1) if labels is None else labels
        data = Graph(
            edge_index=value.edge_index.long(),
            features=features,
            labels=_whole(labels, count, "nodes", name),
            classes=_classes(labels),
            weight=_weight(value),
            edge_features=_edge_features(value),
            masks=_masks(value),
            split_name="the masks of the Data object" if _masks(value) else "",
            name=name,
        )
    return data if task is None else data.for_task(task)


def to_pyg(data: GraphData) -> Any:
    """A `Graph`, `Links` or `Hypergraph` as one Data object, `Graphs` as a list of them."""
    from torch_geometric.data import Data

    if isinstance(data, Graphs):
        return [_one(data, k, Data) for k in range(len(data))]
    if isinstance(data, Hypergraph):
        return Data(x=data.features, hyperedge_index=data.incidence, y=data.labels, num_nodes=len(data.features))
    facts: dict[str, Any] = {"x": data.features, "num_nodes": len(data.features)}  # type: ignore[attr-defined]
    if isinstance(data, Links):
        facts |= {"edge_index": data.edge_index}
        if data.pairs is not None and data.truth is not None:
            facts |= {"edge_label_index": data.pairs, "edge_label": data.truth.float()}
        return Data(**facts)
    assert isinstance(data, Graph)
    facts |= {"edge_index": data.edge_index, "y": data.labels}
    facts |= {"edge_weight": data.weight} if data.weight is not None else {}
    facts |= {"edge_attr": data.edge_features} if data.edge_features is not None else {}
    for part, mask in (("train", "train_mask"), ("validation", "val_mask"), ("test", "test_mask")):
        if data.masks is not None:
            facts[mask] = data.masks[part].T.squeeze(1)
    return Data(**facts)


def _one(data: Graphs, k: int, kind: Any) -> Any:
    one = data.take(torch.tensor([k]))
    y = one.targets if one.labels is None else one.labels
    facts: dict[str, Any] = {"x": one.features, "edge_index": one.edge_index, "num_nodes": len(one.features)}
    facts |= {"y": y} if y is not None else {}
    facts |= {"edge_weight": one.weight} if one.weight is not None else {}
    facts |= {"edge_attr": one.edge_features} if one.edge_features is not None else {}
    return kind(**facts)


def _graphs(several: Sequence[Any], task: str | None, name: str) -> Graphs:
    y = [None if (found := getattr(one, "y", None)) is None else torch.as_tensor(found).reshape(-1) for one in several]
    given = [value for value in y if value is not None]
    facts: dict[str, Any] = {}
    if given:
        length, kind = len(given[0]), given[0].dtype
        for place, value in enumerate(y):
            if value is not None and len(value) != length:
                raise DataError(f"{name}: y of graph {place} holds {len(value)} numbers, that of others {length}")
        if task != "regress-graphs" and not kind.is_floating_point and length == 1:
            labels = torch.cat([value.long() if value is not None else torch.tensor([-1]) for value in y])
            facts = {"labels": labels, "classes": _classes(labels)}
        elif task == "classify-graphs":
            raise DataError(f"{name}: y holds {length} numbers of type {kind}; a class is one int64")
        else:
            gap = torch.full((length,), torch.nan)
            facts = {"targets": torch.stack([gap if value is None else value.float() for value in y])}
    elif task == "regress-graphs":
        facts = {"targets": torch.full((len(y), 1), torch.nan)}
    for field, found in (("weight", _weight), ("edge_features", _edge_features)):
        known = [value for one in several if (value := found(one)) is not None]
        if len(known) == len(several):
            facts[field] = torch.cat(known)
    features = [_features(one, int(one.num_nodes)) for one in several]
    for place, (one, rows) in enumerate(zip(several, features, strict=True)):
        if rows.shape[1] != features[0].shape[1]:
            raise DataError(
                f"{name}: nodes of graph {place} have {rows.shape[1]} features, those of graph 0 {features[0].shape[1]}"
            )
        check_edges(one.edge_index.long(), len(rows), f"{name}, graph {place}")
    return graphs_of([one.edge_index.long() for one in several], features, name=name, **facts)


def _features(value: Any, count: int) -> Tensor:
    x = getattr(value, "x", None)
    if x is None:
        return torch.zeros(count, 0)
    return x.float() if x.ndim == 2 else x.float()[:, None]


def _weight(value: Any) -> Tensor | None:
    weight = getattr(value, "edge_weight", None)
    return None if weight is None else weight.float().reshape(-1)


def _edge_features(value: Any) -> Tensor | None:
    found = getattr(value, "edge_attr", None)
    if found is None:
        return None
    return found.float() if found.ndim == 2 else found.float()[:, None]


def _whole(labels: Tensor, count: int, noun: str, name: str) -> Tensor:
    labels = labels.squeeze(-1) if labels.ndim == 2 else labels
    if labels.shape != (count,) or labels.is_floating_point():
        raise DataError(
            f"{name}: y has shape {tuple(labels.shape)} and type {labels.dtype}; expected a whole number for each of "
            f"the {count} {noun}"
        )
    return labels.long()


def _classes(labels: Tensor) -> tuple[str, ...]:
    known = labels[labels >= 0]
    return tuple(str(k) for k in range(int(known.max()) + 1)) if known.numel() else ()


def _masks(value: Any) -> dict[str, Tensor] | None:
    found = {}
    for part, key in (("train", "train_mask"), ("validation", "val_mask"), ("test", "test_mask")):
        mask = getattr(value, key, None)
        if mask is None:
            return None
        found[part] = mask.bool().T if mask.ndim == 2 else mask.bool()[None]
    return found
