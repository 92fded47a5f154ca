"""TGNv2: what a plain temporal graph network cannot tell apart, and weights that do."""

from dataclasses import replace

import pytest
import torch

from pathline.core.budget import steps
from pathline.core.errors import MethodError
from pathline.core.tiny import tiny_affinities
from pathline.data import Events
from pathline.data.affinities import Affinities
from pathline.events.tgnv2 import TGNv2


def toy(source: list[int], target: list[int], weight: list[float] | None = None, nodes: int = 5) -> Affinities:
    """A stream in which one event happens per unit of time."""
    events = Events(
        source=torch.tensor(source),
        target=torch.tensor(target),
        time=torch.arange(len(source), dtype=torch.float64),
        nodes=nodes,
        weight=None if weight is None else torch.tensor(weight),
    )
    return Affinities(events=events, period=1.0, name="toy")


def embedded(model: TGNv2, data: Affinities, node: int) -> torch.Tensor:
    with model.walking():
        model.observe(data.contacts(0.0, 1e9))
        return model.network(torch.tensor([node]), torch.tensor([10.0], dtype=torch.float64))[0]


@pytest.mark.parametrize("aggregate", ["last", "mean"])
def test_only_identified_messages_tell_two_targets_apart(aggregate):
    """Streams that differ in whom node 0 turned to, 3 or 4, both new: z_0 is the same in a TGN, and not in TGNv2."""
    one, two = toy([0, 1, 0], [3, 2, 3]), toy([0, 1, 0], [4, 2, 4])
    torch.manual_seed(0)
    plain = TGNv2.for_data(one, idx_dim=-1, aggregate=aggregate)
    assert float((embedded(plain, one, 0) - embedded(plain, two, 0)).abs().max()) < 1e-6
    torch.manual_seed(0)
    for identify in ("cosine", "onehot"):
        knowing = TGNv2.for_data(one, idx_dim=16, identify=identify, aggregate=aggregate)
        assert float((embedded(knowing, one, 0) - embedded(knowing, two, 0)).abs().max()) > 1e-3
    assert float((embedded(plain, one, 0) - embedded(plain, one, 1)).abs().max()) > 1e-4  # and z says something at all


def test_without_numbers_it_is_a_tgn_bit_for_bit():
    """TGNv2 whose weights of the encodings are left out, and a TGN with the same other weights, agree in every bit."""
    data = tiny_affinities()
    torch.manual_seed(0)
    plain = TGNv2.for_data(data, idx_dim=-1)
    off = TGNv2.for_data(data, idx_dim=-1, identify="onehot")
    off.load_state_dict(plain.state_dict())
    assert not any("identify" in name for name, _ in plain.named_parameters())
    assert torch.equal(off.answers(data)[0], plain.answers(data)[0])
    knowing = TGNv2.for_data(data, idx_dim=16)
    with torch.no_grad():
        own = plain.state_dict()
        for name, weight in knowing.state_dict().items():
            if name in ("network.memory.from_source.weight", "network.memory.from_target.weight"):
                weight.zero_()
                weight[:, : own[name].shape[1]] = own[name]
            elif name in own:
                weight.copy_(own[name])
    assert torch.allclose(knowing.answers(data)[0], plain.answers(data)[0], atol=1e-5)
    knowing.network.memory.from_source.weight.data[:, -1] += 1.0
    assert not torch.allclose(knowing.answers(data)[0], plain.answers(data)[0], atol=1e-3)


STEP, OPEN = 1e-3, 200.0  # tanh(STEP w) is STEP w within 1e-6 of it; a gate of -OPEN or OPEN is exactly 0 or 1


def construct(data: Affinities) -> TGNv2:
    """Weights that compute the persistent forecast over messages: memory holds, for each target, STEP times the last
    weight.

    The message is [w in every coordinate, unit vector of the target]; the update gate is closed (keep) everywhere but
    at the target's coordinate, where the candidate tanh(STEP w) replaces what was there. Receivers keep everything. The
    embedding passes the memory, and the decoder undoes STEP.
    """
    nodes = data.events.nodes
    width = 2 * nodes
    model = TGNv2.for_data(data, memory=width, time=2, embed=width, identify="onehot", neighbours=2, dropout=0.0)
    network, memory, cell = model.network, model.network.memory, model.network.memory.update
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        network.scale.fill_(1.0)
        ids = 2 * width + 1 + 2  # where the encodings begin: after both memories, the weight and the time
        message = memory.from_source.weight
        message[:nodes, 2 * width] = 1.0  # w, for the sender
        message[nodes:width, ids + nodes : ids + 2 * nodes] = torch.eye(nodes)  # the receiver's number
        _, gate, new = cell.weight_ih.chunk(3)
        cell.bias_ih.chunk(3)[1].fill_(OPEN)
        gate[:nodes, nodes:] = -2 * OPEN * torch.eye(nodes)
        new[:nodes, :nodes] = STEP * torch.eye(nodes)
        network.attention.skip.weight.copy_(torch.eye(width))
        model.decoder[0].weight.copy_(torch.eye(width))
        model.decoder[2].weight[:, :nodes] = torch.eye(nodes) / STEP
    return model


def test_constructed_weights_are_the_persistent_forecast_over_messages():
    generator = torch.Generator().manual_seed(3)
    source = torch.randint(0, 5, (40,), generator=generator)
    target = (source + torch.randint(1, 5, (40,), generator=generator)) % 5
    weight = torch.rand(40, generator=generator) * 4 + 0.5
    data = toy(source.tolist(), target.tolist(), weight.tolist())
    model = construct(data)
    last = torch.zeros(5, 5)
    with model.walking():
        for k in range(40):
            model.observe(data.contacts(float(k), k + 0.5))
            last[source[k], target[k]] = weight[k]
            said = model.affinity(torch.arange(5), torch.full((5,), k + 0.9, dtype=torch.float64))
            assert float((said - last).abs().max()) < 1e-4
    assert (last > 0).sum() > 12


def test_it_learns_habits_that_a_tgn_cannot():
    """Four sources, each with one target of its own, alike in everything else, for a few steps on one habit each."""
    generator = torch.Generator().manual_seed(0)
    source = torch.randint(0, 4, (240,), generator=generator)
    events = Events(
        source=source,
        target=4 + (source * 3 + 1) % 8,
        time=torch.arange(240),
        nodes=12,
        senders=4,
    )
    split = Affinities(events=events, period=10.0).split()
    for idx_dim, low, high in ((16, 0.9, 1.01), (-1, 0.0, 0.8)):
        model = TGNv2.seeded(split.train, 0, memory=16, time=4, embed=16, idx_dim=idx_dim, neighbours=4)
        model.fit(split.train, steps(120), seed=0, lr=1e-2)
        assert low < model.evaluate(split.test)["NDCG@3"] < high


def test_the_decoder_alone_says_what_is_popular():
    model = TGNv2.for_data(tiny_affinities())
    assert model.popularity().shape == (12,)


def test_time_may_be_counted_in_any_unit():
    data = tiny_affinities()
    torch.manual_seed(0)
    model = TGNv2.for_data(data)
    slow = replace(data, events=replace(data.events, time=data.events.time * 60), period=data.period * 60)
    other = TGNv2.for_data(slow)
    weights = {name: weight for name, weight in model.state_dict().items() if "gap" not in name}
    other.load_state_dict({**other.state_dict(), **weights})
    assert torch.allclose(model.answers(data)[0], other.answers(slow)[0], atol=1e-4)


def test_unknown_options_are_named():
    with pytest.raises(MethodError, match="aggregate is 'sum'"):
        TGNv2.for_data(tiny_affinities(), aggregate="sum")
