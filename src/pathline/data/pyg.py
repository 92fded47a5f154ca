"""PyG objects in and out: `Data` and lists or datasets of them, as the containers of the room `graphs`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.graph import Graph
from pathline.data.graph_batch import GraphData
from pathline.data.graph_list import Graphs, graphs_of
from pathline.data.hypergraph import Hypergraph
from pathline.data.links import Links


def is_pyg(value: Any) -> bool:
    """Whether `value` is a PyG Data object, or a sequence or data set of them."""
    if hasattr(value, "edge_index") and hasattr(value, "num_nodes") and not isinstance(value, GraphData):
        return True
    return (
        hasattr(value, "__len__")
        and hasattr(value, "__getitem__")
        and not isinstance(value, (str, dict))
        and (len(value) > 0 and is_pyg(value[0]))
    )


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
    if not hasattr(value, "edge_index"):
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
            sets=int(incidence[1].max()) + 1,
            name=name,
        )
    elif labels is None or task == "predict-links":
        edges = value.edge_index.long()
        data = Links(edge_index=torch.unique(torch.cat([edges, edges.flip(0)], 1), dim=1), features=features, name=name)
    else:
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
    y = [getattr(one, "y", None) for one in several]
    facts: dict[str, Any] = {}
    if all(value is not None for value in y):
        stacked = torch.stack([torch.as_tensor(value).reshape(-1) for value in y])
        if task != "regress-graphs" and not stacked.is_floating_point() and stacked.shape[1] == 1:
            facts = {"labels": stacked[:, 0].long(), "classes": _classes(stacked)}
        elif task == "classify-graphs":
            raise DataError(f"{name}: y holds {stacked.shape[1]} numbers of type {stacked.dtype}; a class is one int64")
        else:
            facts = {"targets": stacked.float()}
    for field, found in (("weight", _weight), ("edge_features", _edge_features)):
        known = [value for one in several if (value := found(one)) is not None]
        if len(known) == len(several):
            facts[field] = torch.cat(known)
    features = [_features(one, int(one.num_nodes)) for one in several]
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
    return tuple(str(k) for k in range(max(0, int(labels.max())) + 1))


def _masks(value: Any) -> dict[str, Tensor] | None:
    found = {}
    for part, key in (("train", "train_mask"), ("validation", "val_mask"), ("test", "test_mask")):
        mask = getattr(value, key, None)
        if mask is None:
            return None
        found[part] = mask.bool().T if mask.ndim == 2 else mask.bool()[None]
    return found
