"""Implicit maximum likelihood draws samples to data, so that no datum is forgotten."""

import torch
from torch import nn

from pathline.flow.imle import chamfer, euclidean, imle_loss, path_distances


def sets(seed, k=5):
    return torch.randn(3, k, 6, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_chamfer_is_symmetric_zero_for_equal_sets_only_and_blind_to_order():
    a, b = sets(0), sets(1, k=4)
    assert torch.allclose(chamfer(a, b), chamfer(b, a))
    assert torch.allclose(chamfer(a, a[:, torch.randperm(5)]), torch.zeros(3, dtype=torch.float64))
    assert torch.allclose(chamfer(a[:, torch.randperm(5)], b[:, torch.randperm(4)]), chamfer(a, b))
    one_more = torch.cat([a, 10 + a[:, :1]], 1)  # a subset is not an equal set
    assert bool((chamfer(a, one_more) > 1).all()) and bool((chamfer(one_more, a) > 1).all())


def test_chamfer_by_hand():
    a = torch.tensor([0.0, 1.0])[:, None, None]  # two paths of one step on a line
    b = torch.tensor([0.0, 3.0, 1.5])[:, None, None]
    assert abs(chamfer(a, b).item() - (0 + 0.5) / 2 - (0 + 2 + 0.5) / 3) < 1e-6
    assert path_distances(a, b).tolist() == [[0, 3, 1.5], [1, 2, 0.5]]


def test_the_gradient_is_that_of_the_nearest_sample_alone():
    latents, data = torch.randn(7, 4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    scale, calls = torch.ones(3, dtype=torch.float64, requires_grad=True), []

    def generate(z):
        calls.append((len(z), torch.is_grad_enabled()))
        return scale * z

    found = imle_loss(generate, latents, data, euclidean)
    assert calls == [(7, False), (1, True)]
    brute = (latents - data).square().mean(-1).sqrt()
    assert torch.equal(found.chosen, brute.argmin(0)) and torch.allclose(found.loss, brute.amin(0).mean())
    (gradient,) = torch.autograd.grad(found.loss, scale)
    nearest = scale * latents[found.chosen, torch.arange(4)]
    (expected,) = torch.autograd.grad((nearest - data).square().mean(-1).sqrt().mean(), scale)
    assert torch.allclose(gradient, expected)


def test_both_of_two_points_are_covered_where_regression_answers_with_their_mean():
    def trained(by_imle):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(300):
            data = torch.randint(0, 2, (64, 1)) * 2.0 - 1
            if by_imle:
                loss = imle_loss(net, torch.randn(8, 64, 1), data, euclidean).loss
            else:
                loss = (net(torch.randn(64, 1)) - data).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return net(torch.randn(2000, 1)).detach()

    covered, collapsed = trained(by_imle=True), trained(by_imle=False)
    near = [float(((covered - point).abs() < 0.4).float().mean()) for point in (-1.0, 1.0)]
    assert min(near) > 0.3 and sum(near) > 0.7  # a continuous net has to cross from one to the other
    assert collapsed.abs().max() < 0.4
