import pytest
import torch

from pathline.sims.constrained import DOMAINS, constrained
from pathline.spaces import space


@pytest.mark.parametrize("name", DOMAINS)
def test_laws_stay_in_their_domain_crowd_at_its_wall_and_follow_their_seed(name):
    data = constrained(name, 4000, seed=1)
    settings = DOMAINS[name] | ({"shape": (2,)} if name == "square" else {})
    domain = space(settings)
    assert domain.contains(data.values, 1e-6).all()
    uniform = domain.sample(4000, torch.Generator().manual_seed(0))

    def room(x):
        """Distance to the nearest wall, for the simplex the least coordinate."""
        return x.amin(1) if name == "simplex" else -domain.excess(x)

    near = float(room(uniform).quantile(0.1))
    assert (room(data.values) < near).float().mean() > 0.17  # of uniform points it would be 0.1
    assert torch.equal(data.values, constrained(name, 4000, seed=1).values)
    assert not torch.equal(data.values, constrained(name, 4000, seed=2).values)
    counts = torch.bincount(data.labels)
    assert counts.min() > 0.8 * len(data) / len(counts)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="unknown law 'cube'; choose one of square"):
        constrained("cube", 5)
    with pytest.raises(ValueError, match="count 0"):
        constrained("square", 0)
