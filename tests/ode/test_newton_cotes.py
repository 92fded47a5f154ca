"""Newton-Cotes rules: published weights, exactness, and the textbook errors."""

from fractions import Fraction

import pytest
import torch

from pathline.ode.newton_cotes import newton_cotes, newton_cotes_remainder, newton_cotes_weights

PUBLISHED = {
    0: (1,),
    1: (1, 1),
    2: (1, 4, 1),
    3: (1, 3, 3, 1),
    4: (7, 32, 12, 32, 7),
    5: (19, 75, 50, 50, 75, 19),
    6: (41, 216, 27, 272, 27, 216, 41),
    7: (751, 3577, 1323, 2989, 2989, 1323, 3577, 751),
}
REMAINDERS = {  # of Abramowitz and Stegun, 25.4.1 to 25.4.18
    1: (Fraction(-1, 12), 3, 2),
    2: (Fraction(-1, 90), 5, 4),
    3: (Fraction(-3, 80), 5, 4),
    4: (Fraction(-8, 945), 7, 6),
    5: (Fraction(-275, 12096), 7, 6),
    6: (Fraction(-9, 1400), 9, 8),
    7: (Fraction(-8183, 518400), 9, 8),
}


@pytest.mark.parametrize("k", PUBLISHED)
def test_weights_are_the_published_integers(k: int) -> None:
    assert newton_cotes_weights(k) == PUBLISHED[k]
    assert newton_cotes_weights(k) == newton_cotes_weights(k)[::-1]


@pytest.mark.parametrize("k", REMAINDERS)
def test_remainders_are_the_textbooks(k: int) -> None:
    assert newton_cotes_remainder(k) == REMAINDERS[k]


def test_the_rectangle_misses_half_the_slope() -> None:
    assert newton_cotes_remainder(0) == (Fraction(1, 2), 2, 1)


def test_the_eighth_rule_has_negative_weights_and_says_so() -> None:
    newton_cotes_weights.cache_clear()
    with pytest.warns(UserWarning, match="amplify noise"):
        weights = newton_cotes_weights(8)
    assert weights == (989, 5888, -928, 10496, -4540, 10496, -928, 5888, 989)


def test_a_rule_has_no_fewer_than_no_intervals() -> None:
    with pytest.raises(ValueError, match="-1"):
        newton_cotes_weights(-1)


@pytest.mark.parametrize("k", range(8))
def test_a_rule_integrates_every_polynomial_up_to_its_degree(k: int) -> None:
    degree = newton_cotes_remainder(k).derivative - 1
    assert degree == (0 if k == 0 else k if k % 2 else k + 1)
    generator = torch.Generator().manual_seed(k)
    coefficients = torch.randn(degree + 1, 3, generator=generator, dtype=torch.float64)
    duration = 1.7
    times = torch.linspace(0, duration, k + 1, dtype=torch.float64)
    powers = torch.arange(degree + 1, dtype=torch.float64)
    values = (times[:, None] ** powers) @ coefficients
    exact = (duration ** (powers + 1) / (powers + 1)) @ coefficients
    assert (newton_cotes(values, duration) - exact).abs().max() < 1e-12
