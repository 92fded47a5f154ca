"""Bipartite graphs of users and items: one graph whose nodes are the users and then the items."""

import torch
from torch import Tensor

from pathline.graph.sparse import SparseMatrix


def bipartite_adjacency(user: Tensor, item: Tensor, users: int, items: int) -> SparseMatrix:
    """D^-1/2 A D^-1/2 on all users + items nodes, symmetric; item i is node users + i. Nodes without an edge get 0.

    user, item: (n,) int64, each pair at most once
    """
    row = torch.cat([user, item + users])
    column = torch.cat([item + users, user])
    degree = torch.bincount(row, minlength=users + items)
    value = (degree[row] * degree[column]).double().rsqrt().float()
    return SparseMatrix(row, column, value, (users + items, users + items), symmetric=True)


def interaction_matrix(user: Tensor, item: Tensor, users: int, items: int, normalised: bool = False) -> SparseMatrix:
    """The (users, items) matrix of ones, or D_u^-1/2 A D_i^-1/2."""
    value = torch.ones(len(user), device=user.device)
    if normalised:
        per_user, per_item = torch.bincount(user, minlength=users), torch.bincount(item, minlength=items)
        value = (per_user[user] * per_item[item]).double().rsqrt().float()
    return SparseMatrix(user, item, value, (users, items))
