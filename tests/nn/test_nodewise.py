"""A linear layer per node, mixed from a pool."""

import torch
import torch.nn.functional as F

from pathline.nn.nodewise import NodewiseLinear, nodewise_linear


def test_one_hot_embeddings_give_independent_linear_layers():
    torch.manual_seed(0)
    nodes, inputs, outputs = 4, 3, 5
    layer = NodewiseLinear(nodes, inputs, outputs)
    torch.nn.init.normal_(layer.bias_pool)
    x = torch.randn(2, 7, nodes, inputs)
    y = layer(x, torch.eye(nodes))
    for n in range(nodes):
        torch.testing.assert_close(y[..., n, :], F.linear(x[..., n, :], layer.weight_pool[n].T, layer.bias_pool[n]))
    y[..., 2, :].sum().backward()
    assert layer.weight_pool.grad is not None
    assert layer.weight_pool.grad[2].all() and not layer.weight_pool.grad[[0, 1, 3]].any()


def test_weights_are_mixed_by_the_embedding():
    torch.manual_seed(0)
    layer = NodewiseLinear(2, 3, 3)
    embedding = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.25, -2.0]])
    weight, bias = layer.weights(embedding)
    torch.testing.assert_close(weight[2], 0.25 * weight[0] - 2 * weight[1])
    torch.testing.assert_close(bias[2], 0.25 * bias[0] - 2 * bias[1])
    x = torch.randn(5, 3, 3)
    torch.testing.assert_close(layer(x, embedding), nodewise_linear(x, weight, bias))
    torch.testing.assert_close(nodewise_linear(x, weight, bias), torch.einsum("bni,nio->bno", x, weight) + bias)


def test_mixed_weights_start_at_the_scale_of_an_ordinary_layer():
    torch.manual_seed(0)
    weight, _ = NodewiseLinear(16, 64, 64).weights(torch.randn(50, 16))
    assert abs(weight.std().item() / (3 * 64) ** -0.5 - 1) < 0.1
