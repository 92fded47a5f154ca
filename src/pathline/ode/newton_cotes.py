"""Closed Newton-Cotes rules: an integral from values at equally spaced points, with exact weights.

    int_0^{Kh} f(t) dt = Kh sum_k w_k f(kh) / sum_k w_k + error,      w_k ~ int_0^K l_k(s) ds      (Lagrange basis l_k)
    error = b h^{q+1} f^(q)(some t):      q = K + 1 for odd K, K + 2 for even K > 0      (Simpson, K = 2: -h^5 f''''/90)
K = 0 is the rectangle T f(0). From K = 8 on (except 9) some weights are negative, and rounding and noise grow: higher
rules are not better rules (Runge's phenomenon).
"""

import math
import warnings
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

HIGHEST = 7  # the last K up to which all rules have positive weights


class Remainder(NamedTuple):
    """error = coefficient * h^power * f^(derivative), exact where that derivative is constant."""

    coefficient: Fraction
    power: int
    derivative: int


@cache
def newton_cotes_weights(k: int) -> tuple[int, ...]:
    """w_0 .. w_k as integers without a common divisor: 2 -> (1, 4, 1). Warns above k = 7; ValueError below 0."""
    if k < 0:
        raise ValueError(f"a Newton-Cotes rule has k >= 0 intervals, got {k}")
    if k > HIGHEST:
        warnings.warn(
            f"Newton-Cotes rules of more than {HIGHEST} intervals amplify noise by weights of both signs; use a k of "
            f"at most {HIGHEST}, not {k}",
            stacklevel=2,
        )
    shares = [_basis_integral(k, node) for node in range(k + 1)] if k else [Fraction(1)]
    scale = math.lcm(*(share.denominator for share in shares))
    whole = [int(share * scale) for share in shares]
    divisor = math.gcd(*whole)
    return tuple(weight // divisor for weight in whole)


def _basis_integral(k: int, node: int) -> Fraction:
    """int_0^k of the polynomial that is 1 at `node` and 0 at the other integers from 0 to k."""
    polynomial = [Fraction(1)]  # coefficients, constant first
    for other in range(k + 1):
        if other != node:
            shifted = [Fraction(0), *polynomial]
            scaled = [other * coefficient for coefficient in polynomial] + [Fraction(0)]
            polynomial = [(a - b) / (node - other) for a, b in zip(shifted, scaled, strict=True)]
    return sum((c * Fraction(k) ** (power + 1) / (power + 1) for power, c in enumerate(polynomial)), Fraction(0))


@cache
def newton_cotes_remainder(k: int) -> Remainder:
    """integral - rule for the lowest monomial that the rule misses, in steps h (for k = 0, h is the whole interval)."""
    weights, length = newton_cotes_weights(k), max(k, 1)
    total, degree = sum(weights), 0
    while True:
        exact = Fraction(length ** (degree + 1), degree + 1)
        rule = length * sum(Fraction(weight * node**degree, total) for node, weight in enumerate(weights))
        if exact != rule:
            return Remainder((exact - rule) / math.factorial(degree), degree + 1, degree)
        degree += 1


def newton_cotes(values: Tensor, duration: float) -> Tensor:
    """The rule through (K + 1, ...) values at equally spaced times from 0 to `duration`: (...)."""
    weights = torch.tensor(newton_cotes_weights(len(values) - 1), dtype=values.dtype, device=values.device)
    return duration * torch.einsum("k,k...->...", weights / weights.sum(), values)
