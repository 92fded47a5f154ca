import pytest
import torch

from pathline.nn import Conditioning, TimeEmbedding, sinusoidal_embedding


def test_the_embedding_is_unit_circles_with_the_stated_frequencies() -> None:
    t = torch.tensor([0.0, 0.3])
    embedded = sinusoidal_embedding(t, 6, highest=10.0)
    cosine, sine = embedded.chunk(2, dim=1)
    torch.testing.assert_close(cosine**2 + sine**2, torch.ones(2, 3))
    torch.testing.assert_close(torch.atan2(sine, cosine)[1], torch.tensor([0.03, 0.3, 3.0]))


def test_low_precision_modules_still_tell_close_times_apart() -> None:
    """In bfloat16 itself 0.991 and 0.992 are one number; the sinusoids must be computed before the cast."""
    t = torch.tensor([0.991, 0.992])
    assert t.bfloat16()[0] == t.bfloat16()[1]
    torch.manual_seed(0)
    embedding = TimeEmbedding(32).bfloat16()
    first, second = embedding(t)
    assert not torch.equal(first, second)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert sinusoidal_embedding(t, 8).dtype == torch.float32


def test_double_precision_times_stay_double() -> None:
    t = torch.tensor([0.5, 0.5 + 1e-12], dtype=torch.float64)
    first, second = sinusoidal_embedding(t, 8)
    assert 0 < (first - second).norm() < 1e-9


def test_an_odd_width_is_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        sinusoidal_embedding(torch.zeros(1), 7)


def test_networks_of_intervals_embed_time_slowly() -> None:
    """No sinusoid turns by more than 1 radian over [0, 1]: rare intervals are extrapolated smoothly."""
    condition = Conditioning(16, interval=True)
    assert condition.interval is not None
    assert condition.time.highest == condition.interval.highest == 1.0
    assert Conditioning(16).time.highest > 1.0
