"""An epoch of LightGCN on MovieLens-100K, beside recbole's: 64 dimensions, 3 layers, batches of 2048 pairs, Adam.

An epoch on either side is drawing a negative for every interaction, the forward and backward passes of all batches and
the optimiser's steps, as `pathline fit` and recbole's own trainer run them, without evaluation. Both learn from the
same interactions, and from the same weights both propagate to the same factors.
"""

import logging
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import bench.recbole_names  # noqa: F401  (before recbole)
from bench.side_by_side import Measured, Side, conditions, in_turn, parameters
from pathline.core.budget import epochs
from pathline.core.train import train
from pathline.data import Interactions
from pathline.recommend.lightgcn import LightGCN

BATCH, WIDTH, LAYERS, L2 = 2048, 64, 3, 1e-4


def measure() -> tuple[dict[str, Any], list[Measured]]:
    """One line, float32 on both sides."""
    torch.manual_seed(0)
    where = conditions("recbole", "scipy")
    trainer, net, loader, data = recbole()
    method = LightGCN.for_data(data, width=WIDTH, layers=LAYERS, l2=L2)
    worst = agreement(method, net, data)
    line = in_turn(
        Side("pathline, LightGCN", our_epoch(method, data), parameters(method), "fp32"),
        Side("recbole, LightGCN", lambda: trainer._train_epoch(loader, 0), parameters(net), "fp32"),
        f"LightGCN on MovieLens-100K, an epoch of {len(data)} pairs, batch {BATCH}, {WIDTH} wide, {LAYERS} layers",
        3.0,
        f"from the same weights, the propagated factors differ by {worst:.1e} at most",
    )
    return where, [line]


def recbole() -> tuple[Any, nn.Module, Any, Interactions]:
    """recbole's trainer, network and loader of its training part, and the same interactions as ours."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.general_recommender import LightGCN as Peer
    from recbole.trainer import Trainer

    settings = {
        "train_batch_size": BATCH,
        "embedding_size": WIDTH,
        "n_layers": LAYERS,
        "reg_weight": L2,
        "require_pow": True,
        "learner": "adam",
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user", "mode": "full"},
        "show_progress": False,
        "use_gpu": False,
        "checkpoint_dir": tempfile.mkdtemp(),
        "state": "ERROR",
    }
    config = Config(model="LightGCN", dataset="ml-100k", config_dict=settings)
    logging.disable(logging.INFO)
    dataset = create_dataset(config)
    loader, _, _ = data_preparation(config, dataset)
    net = Peer(config, loader.dataset).to("cpu")
    pairs = loader.dataset.inter_feat
    data = Interactions(
        user=pairs["user_id"].long(),
        item=pairs["item_id"].long(),
        users=tuple(map(str, range(net.n_users))),
        items=tuple(map(str, range(net.n_items))),
        name="movielens-100k",
    )
    return Trainer(config, net), net, loader, data


def our_epoch(method: LightGCN, data: Interactions) -> Callable[[], Any]:
    """An epoch of `pathline fit`, from making the loop to its end."""
    return lambda: train(method, data, epochs(1), batch_size=BATCH, lr=1e-3, schedule="constant")


def agreement(method: LightGCN, net: Any, data: Interactions) -> float:
    """Largest difference of the factors that both sides make of the same weights."""
    with torch.no_grad():
        method.embedding.copy_(net.get_ego_embeddings())
        theirs = torch.cat(net.forward())
        return float((method.factors() - theirs).abs().max())
