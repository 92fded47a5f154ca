"""The joint neighbourhood of two nodes: who is near to either, and how near to each.

Every entry is a node `key` that is `hop` steps from one side of a pair. Entries of one pair with the same key are one
member; its code sums 1 << hop over the source's side and 1 << (hop + 3) over the target's, so each of the 64 codes is a
set of {u0, u1, u2, v0, v1, v2}: a common neighbour is u1 and v1, a pair that has met is u0 and v1, and so on.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

HOPS = 3
CODES = 1 << 2 * HOPS


@dataclass(frozen=True)
class Members:
    """The members of all pairs, sorted by pair and key.

    pair: (members,) int64;  key: (members,) int64;  code: (members,) int64;  features: (members, width), summed
    """

    pair: Tensor
    key: Tensor
    code: Tensor
    features: Tensor


def members_of(pair: Tensor, key: Tensor, bit: Tensor, features: Tensor, keys: int) -> Members:
    """Group entries (entries, ...) by pair and key.

    key: int64 in 0 .. keys - 1;  bit: int64, 1 << hop, three further on the target's side
    """
    together, group = torch.unique(pair * keys + key, return_inverse=True)
    count = len(together)
    code = torch.zeros(count, dtype=torch.int64, device=key.device).index_add(0, group, bit)
    summed = features.new_zeros(count, features.shape[1]).index_add(0, group, features)
    return Members(together // keys, together % keys, code, summed)
