"""The online normaliser against the statistics of all it saw."""

import torch

from pathline.nn.normalizer import Normalizer


def seen(parts: list[torch.Tensor], **options: int) -> Normalizer:
    normalizer = Normalizer(parts[0].shape[-1], **options)
    for part in parts:
        normalizer(part)
    return normalizer


def test_batch_by_batch_equals_all_at_once() -> None:
    values = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0, 0.01]) + 2
    normalizer = seen([values[:10].view(2, 5, 3), values[10:45], values[45:]]).eval()
    assert torch.allclose(normalizer(values), (values - values.mean(0)) / values.std(0, correction=0), atol=1e-3)
    assert torch.allclose(normalizer.inverse(normalizer(values)), values, atol=1e-5)


def test_evaluation_learns_nothing_and_the_state_is_saved() -> None:
    values = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    normalizer = seen([values]).eval()
    before = normalizer(values)
    normalizer(values + 100)
    assert torch.equal(normalizer(values), before)
    other = Normalizer(2)
    other.load_state_dict(normalizer.state_dict())
    assert torch.equal(other.eval()(values), before)
    assert not torch.equal(Normalizer(2).eval()(values), before)


def test_it_stops_at_its_limit() -> None:
    one, two = torch.zeros(4, 1), torch.ones(4, 1)
    assert float(seen([one, two], limit=1).mean) == 0.0
    assert float(seen([one, two], limit=2).mean) == 0.5


def test_a_column_that_never_varied_is_not_stretched() -> None:
    values = torch.full((1000, 1), 3.3)
    normalizer = seen([values] * 30).eval()
    assert normalizer(values).abs().max() < 1e-6
    assert torch.allclose(normalizer(values + 1), torch.ones(1), atol=1e-5)


def test_sums_of_many_frames_keep_their_digits() -> None:
    """Float32 sums of squares near 10^4 stop growing long before 2 * 10^7 rows; these do not."""
    big = torch.full((10_000, 1), 100.0)
    normalizer = Normalizer(1)
    for _ in range(2000):
        normalizer.accumulate(big)
    normalizer.accumulate(big + torch.tensor([[-1.0], [1.0]]).repeat(5000, 1))
    assert float(normalizer.squares) == 100.0**2 * 2001 * 10_000 + 10_000
    expected = (1 / 2001) ** 0.5
    assert abs(float(normalizer.deviation) - expected) < 1e-3 * expected
