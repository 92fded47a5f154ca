import pytest
import torch

from pathline.graph import Ends, Segments, segment_max, segment_mean, segment_softmax, segment_sum

INDEX = torch.tensor([2, 0, 2, 4, 0, 2])  # segments 1 and 3 are empty
COUNT = 5


def brute_force(values, reduce, empty):
    """The definition, one segment at a time, for values (batch, E, features)."""
    parts = [values[:, s == INDEX] for s in range(COUNT)]
    return torch.stack([reduce(p) if p.shape[1] else torch.full_like(values[:, 0], empty) for p in parts], 1)


@pytest.fixture
def values():
    return torch.randn(3, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dim", [1, -2])
def test_reductions_agree_with_a_loop_over_segments(values, dim):
    for function, reduce in (
        (segment_sum, lambda part: part.sum(1)),
        (segment_mean, lambda part: part.mean(1)),
        (segment_max, lambda part: part.amax(1)),
    ):
        torch.testing.assert_close(function(values, INDEX, COUNT, dim=dim), brute_force(values, reduce, 0.0))
    assert (segment_max(values, INDEX, COUNT, dim=dim, empty=-7.0)[:, [1, 3]] == -7.0).all()


def test_every_dimension_can_be_reduced(values):
    moved = segment_sum(values.movedim(1, 0), INDEX, COUNT)
    torch.testing.assert_close(moved.movedim(0, 1), segment_sum(values, INDEX, COUNT, dim=1))
    assert segment_sum(values[0, :, 0], INDEX, COUNT).shape == (COUNT,)


def test_softmax_is_a_distribution_within_each_segment_and_ignores_shifts(values):
    weight = segment_softmax(values, INDEX, COUNT, dim=1)
    for s in (0, 2, 4):
        torch.testing.assert_close(weight[:, s == INDEX], values[:, s == INDEX].softmax(1))
    shift = 1000.0 * torch.arange(COUNT, dtype=torch.float64)[INDEX][:, None]
    torch.testing.assert_close(segment_softmax(values + shift, INDEX, COUNT, dim=1), weight)


def test_softmax_gives_masked_entries_no_weight_and_no_nan():
    score = torch.tensor([-torch.inf, 1.0, -torch.inf, -torch.inf], requires_grad=True)
    weight = segment_softmax(score, torch.tensor([0, 0, 1, 1]), 2)
    assert weight.tolist() == [0.0, 1.0, 0.0, 0.0]
    (gradient,) = torch.autograd.grad(weight[1], score)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("function", [segment_sum, segment_mean, segment_max, segment_softmax])
def test_gradients_are_those_of_the_definition(function, values):
    assert torch.autograd.gradcheck(lambda v: function(v, INDEX, COUNT, 1), values.requires_grad_())


def test_an_index_of_the_wrong_length_is_named():
    with pytest.raises(ValueError, match=r"index has shape \(5,\)"):
        segment_sum(torch.zeros(6, 2), INDEX[:5], COUNT)


def test_segments_gather_and_sum_as_indexing_does() -> None:
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(0, 6, (20,), generator=generator)
    index[index == 3] = 2  # an empty segment
    values, entries = (torch.randn(n, 4, 2, generator=generator, dtype=torch.float64) for n in (7, 20))
    segments = Segments(index, 7)
    assert torch.equal(segments.gather(values), values[index])
    assert torch.allclose(segments.sum(entries), segment_sum(entries, index, 7), atol=1e-12)
    assert not segments.sum(entries)[3].any()
    assert torch.allclose(segments.sum(entries[:, 0, 0]), segment_sum(entries[:, 0, 0], index, 7), atol=1e-12)


def test_segments_are_differentiable_twice() -> None:
    generator = torch.Generator().manual_seed(0)
    segments = Segments(torch.tensor([2, 0, 2, 1, 0]), 4)
    values, entries = (torch.randn(n, 2, generator=generator, dtype=torch.float64, requires_grad=True) for n in (4, 5))
    for function, inputs in ((segments.gather, values), (segments.sum, entries)):
        assert torch.autograd.gradcheck(lambda x, f=function: f(x).sin(), (inputs,))
        assert torch.autograd.gradgradcheck(lambda x, f=function: f(x).sin(), (inputs,))


def test_segments_name_what_does_not_fit() -> None:
    with pytest.raises(IndexError, match="4"):
        Segments(torch.tensor([0, 4]), 4)
    with pytest.raises(ValueError, match="3 rows"):
        Segments(torch.tensor([0, 1]), 4).sum(torch.ones(3, 2))
    assert Segments(torch.empty(0, dtype=torch.int64), 3).sum(torch.empty(0, 2)).shape == (3, 2)


def test_ends_add_what_both_ends_say() -> None:
    generator = torch.Generator().manual_seed(0)
    edges = torch.tensor([[0, 3, 3, 1], [2, 2, 0, 3]])
    values, said = (torch.randn(4, n, generator=generator, dtype=torch.float64, requires_grad=True) for n in (3, 6))
    ends = Ends(edges, 4)
    expected = values + said[edges[0], :3] + said[edges[1], 3:]
    assert torch.allclose(ends.add(values * 1, said), expected, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x, v: ends.add(x * 1, v).sin(), (values, said))
    assert torch.autograd.gradgradcheck(lambda x, v: ends.add(x * 1, v).sin(), (values, said))
    assert Ends(edges[:, :0], 4).add(values[:0] * 1, said).shape == (0, 3)
