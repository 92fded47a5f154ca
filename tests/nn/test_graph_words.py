"""Words as nodes of a graph: model 1 of GCRN on text."""

import torch

from pathline.graph import scaled_laplacian
from pathline.nn.chebyshev import ChebyshevFilter
from pathline.nn.graph_words import GraphWords, cooccurrence_vectors, word_graph

KINDS, EACH = 7, 6


def text(length, seed):
    """Words come in kinds that follow each other in a fixed order, now and then (1 in 10) at random; within a kind
    every word is as likely."""
    generator = torch.Generator().manual_seed(seed)
    step = torch.where(
        torch.rand(length, generator=generator) < 0.1, torch.randint(KINDS, (length,), generator=generator), 1
    )
    kind = step.cumsum(0) % KINDS
    return kind * EACH + torch.randint(EACH, (length,), generator=generator)


def test_the_graph_joins_words_that_are_used_alike():
    graph = word_graph(cooccurrence_vectors(text(6000, 0), KINDS * EACH))
    assert torch.equal(graph, graph.T) and (graph.diagonal() == 0).all() and (graph <= 1.0001).all()
    assert ((graph > 0).sum(1) >= 4).all()
    kind = torch.arange(KINDS * EACH) // EACH
    same = kind[:, None] == kind
    assert graph[same].sum() > 0.95 * graph.sum()


def test_rows_of_the_polynomials_are_filtered_one_hot_words():
    torch.manual_seed(0)
    graph = word_graph(torch.randn(9, 3))
    model = GraphWords(graph, features=2, width=4, coefficients=4)
    layer = ChebyshevFilter(1, 2, 4)
    layer.weight.data = model.weight.data[:, None].clone()
    words = torch.tensor([[3, 0, 8]])
    hot = torch.nn.functional.one_hot(words, 9).float()[..., None]  # (batch, time, nodes, 1)
    torch.testing.assert_close(model.terms[words] @ model.weight, layer(hot, scaled_laplacian(graph)))


def test_the_graph_lowers_perplexity_where_a_few_words_must_do():
    """400 words of training: who knows which words are alike has seen every kind many times, if not every word."""
    train, test = text(400, 1)[None], text(1500, 2)[None]
    graph = word_graph(cooccurrence_vectors(text(6000, 3), KINDS * EACH))
    found = {}
    for coefficients in (1, 3):
        torch.manual_seed(0)
        model = GraphWords(graph, coefficients=coefficients, width=24)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        best = float("inf")
        for step in range(80):
            optimizer.zero_grad()
            model.loss(train).backward()
            optimizer.step()
            if step % 5 == 4:
                best = min(best, model.perplexity(test))
        found[coefficients] = best
    assert found[3] < 0.9 * found[1] and found[1] < 0.95 * KINDS * EACH
