import math

import pytest

from pathline.ode import DORMAND_PRINCE, EULER, FIXED_STEP, Tableau

ALL = {**FIXED_STEP, "dopri5": DORMAND_PRINCE}


@pytest.mark.parametrize("tableau", ALL.values(), ids=ALL)
def test_stages_are_consistent_with_their_nodes(tableau: Tableau) -> None:
    """sum_j a_ij = c_i and sum_i b_i c_i^(k-1) = 1/k up to the order: the conditions of quadrature."""
    for node, row in zip(tableau.nodes, tableau.stages, strict=True):
        assert math.isclose(sum(row), node, abs_tol=1e-14)
    for k in range(1, tableau.order + 1):
        moment = sum(b * c ** (k - 1) for b, c in zip(tableau.weights, tableau.nodes, strict=True))
        assert math.isclose(moment, 1 / k, abs_tol=1e-14)


def test_the_embedded_method_is_of_order_four_but_not_five() -> None:
    moments = [sum(e * c**k for e, c in zip(DORMAND_PRINCE.error, DORMAND_PRINCE.nodes, strict=True)) for k in range(5)]
    assert max(map(abs, moments[:4])) < 1e-14 < abs(moments[4])


def test_only_dormand_prince_hands_its_last_slope_on() -> None:
    assert DORMAND_PRINCE.first_same_as_last
    assert not any(tableau.first_same_as_last for name, tableau in FIXED_STEP.items() if name != "euler")
    assert not EULER.first_same_as_last
