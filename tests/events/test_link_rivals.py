"""Neighbourhoods that are collected online hold what two steps back in time reach, and nothing else."""

import torch

from pathline.data.events import Events
from pathline.events.link_rivals import OnlineJoint
from pathline.graph.joint_neighbourhood import HOPS


def watched():
    """0 met 1, then 1 met 2, then 2 met 3."""
    data = Events(source=torch.tensor([0, 1, 2]), target=torch.tensor([1, 2, 3]), time=torch.tensor([0, 1, 2]), nodes=5)
    torch.manual_seed(0)
    model = OnlineJoint.for_data(data)
    for contacts in data.between(1, 0, 3):
        model.observe(contacts)
    return model


def test_walks_take_two_steps_back_in_time():
    model = watched()
    sides = {node: {(a, hop) for a, hop, *_ in model.side(node, [0.0] * 16)} for node in range(5)}
    assert sides[3] == {(3, 0), (2, 1), (1, 2)}
    assert sides[0] == {(0, 0), (1, 1)}  # what 1 did later is not on a walk from 0
    assert sides[4] == {(4, 0)}


def test_members_of_a_pair_carry_the_bits_of_both_ends():
    model = watched()
    members = model.members(torch.tensor([3]), torch.tensor([[0]]), torch.tensor([3.0], dtype=torch.float64))
    expected = {3: 1 << 0, 2: 1 << 1, 1: 1 << 2 | 1 << 1 + HOPS, 0: 1 << HOPS}
    found = dict(zip(members.key.tolist(), members.code.tolist(), strict=True))
    assert found == expected
