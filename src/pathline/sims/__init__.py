"""Simulators: ground truth that we compute ourselves, in float64, seeded, cached on disk.

`nbody` holds charged, gravitating and spring-coupled bodies; `roads` traffic on the motorways of `cities`;
`cloth` flags in the wind.
"""

from pathline.sims.cities import RoadNetwork, city
from pathline.sims.cloth import Cloth, simulated_cloth
from pathline.sims.nbody import Motion, charged_nbody, gravity_nbody, simulate_bodies, spring_nbody
from pathline.sims.roads import RoadRecord, simulate_roads, simulated_roads, transmit

__all__ = [
    "Cloth",
    "Motion",
    "RoadNetwork",
    "RoadRecord",
    "charged_nbody",
    "city",
    "gravity_nbody",
    "simulate_bodies",
    "simulate_roads",
    "simulated_cloth",
    "simulated_roads",
    "spring_nbody",
    "transmit",
]
