"""Latitude and longitude as metres east and north of a place, on the WGS 84 ellipsoid, and back.

    east = N(lat_0) cos(lat_0) (lon - lon_0),   north = M(lat_0) (lat - lat_0)
    N = a / sqrt(1 - e^2 sin^2 lat_0),          M = a (1 - e^2) / (1 - e^2 sin^2 lat_0)^(3/2)

with the radii of curvature across and along the meridian. At a distance d north of the place, east is off by
d tan(lat_0) / a of itself: 0.2 % for 10 km in middle latitudes.
"""

import numpy as np

EQUATOR = 6_378_137.0  # a, metres
ECCENTRICITY_SQUARED = 0.00669437999014  # e^2


def _metres_per_radian(latitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """East and north at this latitude in degrees."""
    sine, cosine = np.sin(np.radians(latitude)), np.cos(np.radians(latitude))
    flat = 1 - ECCENTRICITY_SQUARED * sine**2
    return EQUATOR / flat**0.5 * cosine, EQUATOR * (1 - ECCENTRICITY_SQUARED) / flat**1.5


def to_metres(degrees: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """(n, 2 or 3) latitude, longitude in degrees (and height) -> metres east, north (and up) of `origin`, (n, same) or
    (same,); the short way round the globe."""
    east, north = _metres_per_radian(origin[..., 0])
    turn = (degrees[..., 1] - origin[..., 1] + 180) % 360 - 180
    metres = [np.radians(turn) * east, np.radians(degrees[..., 0] - origin[..., 0]) * north]
    return np.stack([*metres, *np.moveaxis((degrees - origin)[..., 2:], -1, 0)], -1)


def to_degrees(metres: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The inverse of `to_metres`."""
    east, north = _metres_per_radian(origin[..., 0])
    longitude = origin[..., 1] + np.degrees(metres[..., 0] / east)
    degrees = [origin[..., 0] + np.degrees(metres[..., 1] / north), (longitude + 180) % 360 - 180]
    return np.stack([*degrees, *np.moveaxis((metres + origin)[..., 2:], -1, 0)], -1)
