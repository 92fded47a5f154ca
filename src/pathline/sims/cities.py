"""Motorway networks of made-up cities, as directed graphs of half-kilometre cells.

A city is a few corridors (each direction of a road is one), connectors where corridors cross, and ramps between them.
The start of a corridor and every on-ramp is a source cell (a queue of cars that wait to enter), the end of a corridor
and every off-ramp a sink cell. No cell has more than two ways in or two ways out.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, identity
from scipy.sparse.csgraph import dijkstra
from scipy.sparse.linalg import spsolve

CELL = 0.5  # km
ROAD, SOURCE, SINK = 0, 1, 2
LAYOUTS = ("ring", "tree", "bridge")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RoadNetwork:
    """Cells and the edges along which cars pass from one to the next.

    kind:      (cells,) ROAD, SOURCE or SINK
    lanes:     (cells,)
    position:  (cells, 2) km, for pictures (the two directions of a road lie side by side)
    sender, receiver: (edges,) the cell left and the cell entered
    turn:      (edges,) mean share of the sender's cars that take the edge; 1 in sum over the exits of a cell
    priority:  (edges,) share of the receiver's room that the edge may claim when two streams merge there
    main:      cells of the corridors, corridor by corridor, along the direction of travel
    """

    kind: Ints
    lanes: Floats
    position: Floats
    sender: Ints
    receiver: Ints
    turn: Floats
    priority: Floats
    main: tuple[Ints, ...]

    @property
    def cells(self) -> int:
        """Number of cells of all kinds."""
        return len(self.kind)

    def distances(self, cells: Ints) -> Floats:
        """(n, n) km to drive from cell `cells[a]` to cell `cells[b]`; inf where there is no way."""
        hops = csr_matrix((np.ones(len(self.sender)), (self.sender, self.receiver)), shape=(self.cells,) * 2)
        return CELL * dijkstra(hops, unweighted=True, indices=cells)[:, cells]

    def load(self, arrivals: Floats) -> Floats:
        """(cells,) veh/h that would pass each cell if no road were ever full; arrivals: (cells,) veh/h at the sources.

        The stationary balance f = arrivals + T^T f, with T the turning shares from cell to cell.
        """
        shares = csc_matrix((self.turn, (self.receiver, self.sender)), shape=(self.cells,) * 2)
        return spsolve(identity(self.cells, format="csc") - shares, arrivals)

    def sensor_cells(self, sensors: int) -> Ints:
        """`sensors` corridor cells, evenly spread over all corridors."""
        main = np.concatenate(self.main)
        if not 0 < sensors <= len(main):
            raise ValueError(f"{sensors} sensors do not fit on {len(main)} corridor cells")
        return main[np.floor((np.arange(sensors) + 0.5) * len(main) / sensors).astype(int)]


class _Builder:
    """Grows a network cell by cell and edge by edge."""

    def __init__(self) -> None:
        self.cells: list[tuple[int, float, float, float]] = []
        self.edges: list[tuple[int, int, float]] = []
        self.main: list[Ints] = []
        self.ends: set[int] = set()  # first and last cells of open corridors
        self.entered: set[int] = set()  # cells with a second way in
        self.left: set[int] = set()  # cells with a second way out

    def cell(self, kind: int, lanes: float, place: Floats) -> int:
        self.cells.append((kind, lanes, float(place[0]), float(place[1])))
        return len(self.cells) - 1

    def corridor(self, points: Floats, lanes: float, closed: bool) -> None:
        """Cells along `points` (cells, 2); open corridors get a source and a sink, closed ones bite their tail."""
        cells = [self.cell(ROAD, lanes, point) for point in points]
        self.main.append(np.array(cells))
        self.edges += [(a, b, 1.0) for a, b in pairwise(cells)]
        if closed:
            self.edges.append((cells[-1], cells[0], 1.0))
            return
        # the outermost cells take no ramps: their edges to source and sink are the only ones there
        self.edges.append((self.cell(SOURCE, lanes, 2 * points[0] - points[1]), cells[0], 1.0))
        self.edges.append((cells[-1], self.cell(SINK, lanes, 2 * points[-1] - points[-2]), 1.0))
        self.ends |= {cells[0], cells[-1]}
        self.entered.add(cells[0])
        self.left.add(cells[-1])

    def leave(self, cell: int, to: int, turn: float) -> None:
        self.left.add(cell)
        self.edges = [(a, b, 1.0 - turn if a == cell else share) for a, b, share in self.edges]
        self.edges.append((cell, to, turn))

    def enter(self, cell: int, origin: int) -> None:
        self.entered.add(cell)
        self.edges.append((origin, cell, 1.0))

    def _places(self, cells: Ints) -> Floats:
        return np.array([self.cells[cell][2:] for cell in cells])

    def _stretch(self, corridor: int, at: int, step: int) -> Ints:
        """The cell number `at` of a corridor and up to three more, downstream (step 1) or upstream (step -1) of it."""
        cells = self.main[corridor]
        index = at + step * np.arange(4)
        closed = cells[0] not in self.ends
        return cells[index % len(cells)] if closed else cells[index[(index >= 0) & (index < len(cells))]]

    def connect(self, a: int, b: int, turn: float, lanes: float) -> None:
        """A one-cell connector from corridor a to corridor b at each of their crossings."""
        places = self._places(self.main[a]), self._places(self.main[b])
        gap = np.hypot(*np.moveaxis(places[0][:, None] - places[1], -1, 0))
        while gap.min() < 1.5 * CELL:
            i, j = np.unravel_index(gap.argmin(), gap.shape)
            around = [np.hypot(*(place - place[k]).T) < 3.5 * CELL for place, k in zip(places, (i, j), strict=True)]
            gap[np.ix_(*around)] = np.inf
            out = next((int(c) for c in self._stretch(a, int(i), -1) if c not in self.left), None)
            into = next((int(c) for c in self._stretch(b, int(j), 1) if c not in self.entered), None)
            if out is not None and into is not None:
                link = self.cell(ROAD, lanes, self._places(np.array([out, into])).mean(0))
                self.leave(out, link, turn)
                self.enter(into, link)

    def ramps(self, rng: np.random.Generator) -> None:
        """About every 2 km of each corridor an off-ramp, and an on-ramp one cell further."""
        for corridor in self.main:
            at = int(rng.integers(1, 3))
            while at + 1 < len(corridor) - 1:
                off, on = int(corridor[at]), int(corridor[at + 1])
                place, side = self._places(np.array([on]))[0], np.array([0.2, -0.2])
                if off not in self.left:
                    self.leave(off, self.cell(SINK, 1.0, place + side), float(rng.uniform(0.08, 0.2)))
                if on not in self.entered:
                    self.enter(on, self.cell(SOURCE, 1.0, place + side))
                at += int(rng.integers(3, 6))

    def bottlenecks(self, rng: np.random.Generator) -> None:
        """On each open corridor a kilometre (a narrow bridge, a hill) that carries 75 to 90 % of what the rest can."""
        for corridor in self.main:
            if corridor[0] not in self.ends:
                continue
            at, kept = int(rng.uniform(0.55, 0.75) * len(corridor)), float(rng.uniform(0.75, 0.9))
            for cell in corridor[at : at + 2]:
                kind, lanes, x, y = self.cells[cell]
                self.cells[cell] = (kind, kept * lanes, x, y)

    def network(self) -> RoadNetwork:
        kind, lanes, x, y = (np.array(column) for column in zip(*self.cells, strict=True))
        sender, receiver, turn = (np.array(column) for column in zip(*self.edges, strict=True))
        width = lanes[sender]
        merging = np.bincount(receiver, width, len(kind))
        priority = width / merging[receiver]
        return RoadNetwork(kind, lanes, np.stack([x, y], 1), sender, receiver, turn, priority, tuple(self.main))


def _line(start: tuple[float, float], end: tuple[float, float]) -> Floats:
    """Cell centres from start to end, moved 0.1 km to the right of the direction of travel."""
    a, b = np.array(start), np.array(end)
    length = np.hypot(*(b - a))
    along = (b - a) / length
    cells = max(6, round(length / CELL))
    right = np.array([along[1], -along[0]])
    return a + ((np.arange(cells) + 0.5) / cells * length)[:, None] * along + 0.1 * right


def _circle(centre: tuple[float, float], radius: float, clockwise: bool) -> Floats:
    """Cell centres around a ring road; clockwise traffic keeps right, on the inside."""
    radius = radius - 0.1 if clockwise else radius + 0.1
    cells = max(12, round(2 * np.pi * radius / CELL))
    angle = 2 * np.pi * (np.arange(cells) + 0.5) / cells * (-1 if clockwise else 1)
    return np.array(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], 1)


def city(layout: str = "ring", cells: int = 160, seed: int = 0) -> RoadNetwork:
    """A city whose corridors have about `cells` cells; ramps and their turning ratios come from `seed`.

    ring:   a ring road around a cross of two motorways        tree: a trunk with three branches
    bridge: two ring roads on one motorway, the only way between them
    """
    if layout not in LAYOUTS:
        raise ValueError(f"there is no layout {layout!r}: choose one of {', '.join(LAYOUTS)}")
    if cells < 48:
        raise ValueError(f"a city of {cells} cells is too small for its crossings: take at least 48 (12 sensors)")
    net, km = _Builder(), cells * CELL
    if layout == "ring":
        r = km / (4 * np.pi + 12.8)
        reach = 1.6 * r
        east, north = ((-reach, 0.0), (reach, 0.0)), ((0.0, -reach), (0.0, reach))
        for start, end in (east, east[::-1], north, north[::-1]):
            net.corridor(_line(start, end), 3, closed=False)
        for clockwise in (True, False):
            net.corridor(_circle((0.0, 0.0), r, clockwise), 2, closed=True)
        for k in range(4):
            net.connect(k, 4 + k % 2, 0.2, 1)
            net.connect(5 - k % 2, k, 0.25, 1)
        for a, b in ((0, 2), (2, 1), (1, 3), (3, 0)):
            net.connect(a, b, 0.15, 1)
    elif layout == "tree":
        u = km / 2 / 25
        trunk = ((-2 * u, 0.0), (10 * u, 0.0))
        tips = ((-3.0 * u, 4.2 * u), (1.0 * u, -4.2 * u), (5.0 * u, 3.2 * u))
        for start, end in (trunk, trunk[::-1]):
            net.corridor(_line(start, end), 3, closed=False)
        for number, tip in enumerate(tips):
            foot = (tip[0] + 3 * u, 0.0)
            net.corridor(_line(tip, foot), 2, closed=False)
            net.corridor(_line(foot, tip), 2, closed=False)
            net.connect(2 + 2 * number, 0, 0.5, 1)
            net.connect(1, 3 + 2 * number, 0.25, 1)
            net.connect(2 + 2 * number, 1, 0.15, 1)
            net.connect(0, 3 + 2 * number, 0.15, 1)
    else:
        r = km / (8 * np.pi + 20)
        line = ((-5 * r, 0.0), (5 * r, 0.0))
        for start, end in (line, line[::-1]):
            net.corridor(_line(start, end), 3, closed=False)
        for centre in (-3 * r, 3 * r):
            for clockwise in (True, False):
                net.corridor(_circle((centre, 0.0), r, clockwise), 2, closed=True)
        for ring in (2, 4):
            for k in range(2):
                net.connect(k, ring + k, 0.25, 1)
                net.connect(ring + 1 - k, k, 0.25, 1)
    rng = np.random.default_rng([seed, 1])
    net.ramps(rng)
    net.bottlenecks(rng)
    return net.network()
