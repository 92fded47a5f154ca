"""The recurrent rivals: their filters, units and decoders."""

from dataclasses import replace
from itertools import pairwise

import torch
import torch.nn.functional as F

from pathline.forecast.decoding import ScheduledSampling, decode
from pathline.forecast.rivals import AdaptiveGraphGRU, AttentionGRU, DiffusionGRU
from pathline.nn.graph_gru import AdaptiveFilter, DiffusionFilter, GraphGRU

SMALL_DIFFUSION = {"width": 4, "ste_width": 4, "embedding": 4}


def test_adaptive_filter_mixes_neighbours_and_weights_by_embedding():
    torch.manual_seed(0)
    layer, embedding, x = AdaptiveFilter(2, 3, 5), torch.randn(4, 5), torch.randn(6, 4, 2)
    graph = F.softmax(F.relu(embedding @ embedding.T), dim=1)
    weight = torch.einsum("nd,dio->nio", embedding, layer.map.weight_pool)
    bias = embedding @ layer.map.bias_pool
    own, near = weight[:, :2], weight[:, 2:]
    expected = torch.einsum("bni,nio->bno", x, own) + torch.einsum("nm,bmi,nio->bno", graph, x, near) + bias
    torch.testing.assert_close(layer.at(embedding)(x), expected)


def test_diffusion_filter_sums_over_walks_along_and_against_the_roads(series):
    method = DiffusionGRU.seeded(series, 0, **SMALL_DIFFUSION)
    along = series.adjacency / series.adjacency.sum(1, keepdim=True)
    against = series.adjacency.T / series.adjacency.T.sum(1, keepdim=True)
    walks = torch.stack([torch.eye(4), along, along @ along, against, against @ against])
    torch.testing.assert_close(method.supports, walks)
    torch.manual_seed(0)
    layer, x = DiffusionFilter(3, 2, 5), torch.randn(6, 4, 3)
    weight = layer.map.weight.T.unflatten(0, (5, 3))
    torch.testing.assert_close(layer.at(walks)(x), torch.einsum("snm,bmi,sio->bno", walks, x, weight))


def test_unit_on_a_graph_without_edges_is_an_ordinary_gru():
    torch.manual_seed(0)
    cell = GraphGRU(DiffusionFilter, 3, 4, 1)
    step = cell.at(torch.eye(5)[None])
    plain = torch.nn.GRUCell(3, 4)
    gates, candidate = cell.gates.map, cell.candidate.map
    plain.weight_ih.data = torch.cat([gates.weight[:, :3], candidate.weight[:, :3]])
    plain.weight_hh.data = torch.cat([gates.weight[:, 3:], candidate.weight[:, 3:]])
    plain.bias_ih.data.zero_()
    plain.bias_hh.data.zero_()
    x, h = torch.randn(2, 5, 3), torch.randn(2, 5, 4)
    reset, update = torch.sigmoid(gates(torch.cat([x, h], -1))).chunk(2, -1)
    hidden = torch.tanh(candidate(torch.cat([x, reset * h], -1)))
    torch.testing.assert_close(step(x, h), update * h + (1 - update) * hidden)
    zero = torch.zeros_like(h)  # from rest the two published forms of the candidate agree
    torch.testing.assert_close(step(x, zero).flatten(0, 1), plain(x.flatten(0, 1), zero.flatten(0, 1)))


def test_decoder_is_fed_its_own_output_or_the_truth():
    truth = torch.arange(1.0, 5.0).view(1, 4, 1, 1)
    start = torch.tensor(100.0).view(1, 1, 1)

    def step(value, h, index):
        return value + 0.5, h + 1

    own = decode(start, torch.zeros(1), 4, step, truth, share=0.0)
    assert own.flatten().tolist() == [100.5, 101.0, 101.5, 102.0]
    taught = decode(start, torch.zeros(1), 4, step, truth, share=1.0)
    assert taught.flatten().tolist() == [100.5, 1.5, 2.5, 3.5]


def test_truth_is_fed_less_and_less_and_never_outside_training():
    sampling = ScheduledSampling(decay=10.0)
    shares = [sampling() for _ in range(200)]
    assert shares[0] > 0.85 and shares[-1] < 1e-3 and all(a > b for a, b in pairwise(shares))
    assert sampling.eval()() == 0.0 and sampling.step.item() == 200


def test_every_rival_uses_other_sensors(series):
    window = series.gather(torch.arange(3))
    seen = torch.ones_like(window.past_observed)
    for cls, config in (
        (AdaptiveGraphGRU, {"width": 4}),
        (DiffusionGRU, SMALL_DIFFUSION),
        (AttentionGRU, {"heads": 2, "head_width": 8, "embedding": 4, "decoder_width": 4}),
    ):
        method = cls.seeded(series, 0, **config)
        method.train().loss(window)  # statistics for the batch norms
        past = window.past.clone().requires_grad_()
        forecast = method.eval()(replace(window, past=past, past_observed=seen))
        (gradient,) = torch.autograd.grad(forecast[:, :, 0].sum(), past)
        assert (gradient.abs().sum((0, 1, 3)) > 0).all(), cls.__name__


def test_time_vectors_are_an_option_of_the_adaptive_rival(series):
    window = series.gather(torch.arange(3))
    later = replace(window, time_of_day=(window.time_of_day + 1) % 8)
    for width, listens in ((0, False), (3, True)):
        method = AdaptiveGraphGRU.seeded(series, 0, width=4, time_width=width)
        assert torch.equal(method.forecast(window), method.forecast(later)) != listens
