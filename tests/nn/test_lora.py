import pytest
import torch
from torch import nn

from pathline.nn import UNet
from pathline.nn.lora import LoRA


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 6, 3, padding=1, stride=2), nn.SiLU(), nn.Flatten(), nn.Linear(24, 5))


X = torch.randn(7, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def test_an_update_starts_as_the_identity_and_only_its_parts_train():
    net = network()
    before, names = net(X), {name for name, _ in net.named_parameters()}
    LoRA(net, rank=2)
    assert torch.equal(net(X), before)
    training = {name: p.numel() for name, p in net.named_parameters() if p.requires_grad}
    assert sum(training.values()) == 2 * (6 + 18) + 2 * (5 + 24)
    kept = {name.replace("parametrizations.", "").replace(".original", "") for name, p in net.named_parameters()}
    assert names <= kept


def test_training_moves_every_layer_by_the_rank_and_merging_keeps_the_function():
    net = network()
    old = {name: p.detach().clone() for name, p in net.named_parameters()}
    lora = LoRA(net, rank=2, alpha=4.0)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=0.05)
    for _ in range(30):
        optimizer.zero_grad()
        (net(X) - 1).square().mean().backward()
        optimizer.step()
    adapted = net(X)
    lora.merge()
    assert torch.allclose(net(X), adapted, atol=1e-6)
    assert {name for name, _ in net.named_parameters()} == set(old)
    for name, p in net.named_parameters():
        assert p.requires_grad
        change = (p - old[name]).detach()
        if name.endswith("weight"):
            assert torch.linalg.matrix_rank(change.flatten(1), rtol=1e-4) == 2
        else:
            assert torch.equal(change, torch.zeros_like(change))


def test_what_was_frozen_before_stays_frozen_after():
    net = network()
    net[0].bias.requires_grad_(False)
    LoRA(net, rank=1).merge()
    assert not net[0].bias.requires_grad and net[0].weight.requires_grad


def test_a_u_net_keeps_its_state_dict_and_gets_few_parameters():
    net = UNet(1, 16)
    keys, count = list(net.state_dict()), sum(p.numel() for p in net.parameters())
    lora = LoRA(net, rank=1)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) < 0.05 * count
    lora.merge()
    assert set(net.state_dict()) == set(keys)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="rank 0"):
        LoRA(network(), rank=0)
    with pytest.raises(ValueError, match="Linear or Conv2d"):
        LoRA(nn.SiLU())
