"""Committed evidence is whole and judged as the claims say; `pathline evidence --check` tells whether it is fresh."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from pathline import claims
from pathline.core import catalog
from pathline.core.claim import read_evidence

EVIDENCE = {item.key: item for item in read_evidence()}


@pytest.mark.parametrize("key", EVIDENCE)
def test_evidence_is_whole_and_its_verdict_follows_from_its_numbers(key):
    item, claim = EVIDENCE[key], claims.claim(key)
    entry = catalog.entry(key)
    assert (item.number, item.room) == (entry.number, entry.room)
    assert len(item.seeds) >= 3 and item.data and item.versions["torch"]
    assert all(len(values) == len(item.seeds) for values in item.arms.values())
    assert all(math.isfinite(value) for values in item.arms.values() for value in values)
    if not item.stale:
        judged = [requirement.judge(item.arms) for requirement in claim.require]
        assert [part["requirement"] for part in item.margin] == [part["requirement"] for part in judged]
        assert [part["holds"] for part in item.margin] == [part["holds"] for part in judged]
        assert (item.verdict == "holds") == all(part["holds"] for part in judged)


def test_every_claim_belongs_to_a_built_system():
    assert claims.claimed() == [entry.key for entry in catalog.systems() if entry.built]


@pytest.mark.parametrize("name", ["readme_evidence", "evidence_words"])
def test_readme_evidence_and_claims_say_the_same(name):
    script = Path(__file__).resolve().parents[1] / "scripts" / f"{name}.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
