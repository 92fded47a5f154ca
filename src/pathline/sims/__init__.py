"""Simulators: ground truth that we compute ourselves, in float64, seeded, cached on disk.

`nbody` holds charged, gravitating and spring-coupled bodies; `roads` traffic on the motorways of `cities`.
"""

from pathline.sims.cities import RoadNetwork, city
from pathline.sims.nbody import Motion, charged_nbody, gravity_nbody, simulate_bodies, spring_nbody
from pathline.sims.roads import RoadRecord, simulate_roads, simulated_roads, transmit

__all__ = [
    "Motion",
    "RoadNetwork",
    "RoadRecord",
    "charged_nbody",
    "city",
    "gravity_nbody",
    "simulate_bodies",
    "simulate_roads",
    "simulated_roads",
    "spring_nbody",
    "transmit",
]
