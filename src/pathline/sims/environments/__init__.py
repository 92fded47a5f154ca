"""Worlds to build objects in: discrete ones whose states can be counted, continuous and mixed ones with densities."""

from pathline.sims.environments.bits import Bits, random_bits
from pathline.sims.environments.box import Box
from pathline.sims.environments.continuous import ContinuousEnvironment
from pathline.sims.environments.diffusion import Diffusion
from pathline.sims.environments.hypergrid import Hypergrid
from pathline.sims.environments.sets import Sets, random_sets
from pathline.sims.environments.spike_and_slab import SpikeAndSlab
from pathline.sims.environments.strings import Strings
from pathline.sims.environments.torus import Torus

__all__ = [
    "Bits",
    "Box",
    "ContinuousEnvironment",
    "Diffusion",
    "Hypergrid",
    "Sets",
    "SpikeAndSlab",
    "Strings",
    "Torus",
    "random_bits",
    "random_sets",
]
