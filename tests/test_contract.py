"""Every built system and every baseline of the catalogue keeps the contract of a Method."""

import pytest

from pathline.core import catalog
from pathline.core.checks import CHECKS
from pathline.core.tiny import tiny_of

BUILT = [entry.key for entry in catalog.methods(built=True)]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("key", BUILT)
def test_every_method_keeps_the_contract(key, check):
    cls = catalog.method(key)
    for tiny in tiny_of(cls):
        check(cls, tiny)
