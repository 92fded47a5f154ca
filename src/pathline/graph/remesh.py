"""Remeshing in the plane after a sizing field: long edges are split, slender triangles flipped, short ones merged.

    an edge is valid when  u_ij^T (S_i + S_j)/2 u_ij <= 1,    S_i (2, 2), symmetric and positive: a metric
    1. split every invalid edge at its middle, the longest first
    2. flip an edge when, in the metric of its four nodes, the angles that see it sum to more than pi
    3. collapse an edge where that makes no edge invalid and turns no triangle over
    4. flip again
Pfaff et al., 2021, arXiv:2010.03409, appendix A.2, after Narain, Samii, O'Brien, 2012, "Adaptive Anisotropic Remeshing
for Cloth Simulation". A flip that would make an edge invalid is left out, so that every edge is valid in the end.

All edges that do not get in each other's way are treated at once; the outline stays: its corners are kept, and nodes on
it only collapse along a straight side.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.graph.mesh import boundary_edges, signed_areas, unique_edges

TOLERANCE = 1e-12
FLAT = 1e-9  # of the mesh's area: triangles smaller than that are none
ROUNDS = 200
MOST = 1e6  # nodes of a new mesh


@dataclass(frozen=True)
class Mesh:
    """points (nodes, 2) float64, cells (triangles, 3) counter-clockwise, sizing (nodes, 2, 2), keep (nodes,) bool:
    nodes that are never removed."""

    points: Tensor
    cells: Tensor
    sizing: Tensor
    keep: Tensor


def lengths(mesh: Mesh, edges: Tensor) -> Tensor:
    """(E,) u^T S u of edges (2, E), S averaged over the ends; valid up to 1."""
    i, j = edges
    u = mesh.points[i] - mesh.points[j]
    return torch.einsum("ea,eab,eb->e", u, 0.5 * (mesh.sizing[i] + mesh.sizing[j]), u)


def remesh(points: Tensor, cells: Tensor, sizing: Tensor, keep: Tensor | None = None) -> Mesh:
    """A mesh of the same region whose edges are all valid, with few nodes more than that needs.

    points: (nodes, 2);  cells: (triangles, 3) counter-clockwise;  sizing: (nodes, 2, 2) symmetric, positive definite;
    keep: (nodes,) bool, nodes that must stay. Nodes that stay come first, in their order.
    Raises ValueError when a triangle is clockwise, a sizing matrix not positive definite, or the field far too fine.
    """
    points, sizing = points.double(), sizing.double()
    if bool((signed_areas(points, cells) <= 0).any()):
        raise ValueError("a triangle has no area or runs clockwise: list the corners of each counter-clockwise")
    if bool((torch.linalg.eigvalsh(sizing) <= 0).any()):
        raise ValueError("a sizing matrix is not positive definite: every direction needs a length")
    expected = signed_areas(points, cells) * torch.linalg.det(sizing).sqrt()[cells].mean(1)
    if float(expected.sum()) > MOST:
        raise ValueError(f"the sizing field is too fine: about {float(expected.sum()):.1g} nodes would be needed")
    keep = torch.zeros(len(points), dtype=torch.bool) if keep is None else keep
    mesh = split(Mesh(points, cells, sizing, keep))
    return flip(collapse(flip(mesh)))


def _sides(cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The edges of a mesh (2, E), the edge across from each corner (triangles, 3), and each edge's triangles and
    corners as (E, 2) places 3 * triangle + corner, -1 where there is none."""
    across = torch.stack([cells[:, [1, 2]], cells[:, [2, 0]], cells[:, [0, 1]]], 1)
    edges, number = torch.unique(across.flatten(0, 1).sort(1).values, dim=0, return_inverse=True)
    order = number.argsort(stable=True)
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = number[order][1:] != number[order][:-1]
    places = torch.full((len(edges), 2), -1, dtype=torch.int64)
    places[number[order][first], 0] = order[first]
    places[number[order][~first], 1] = order[~first]
    return edges.T.contiguous(), number.view(-1, 3), places


def _first_among(wish: Tensor, number: Tensor, places: Tensor) -> Tensor:
    """(E,) bool: edges with a positive wish that no edge of their own triangles exceeds (no two share a triangle)."""
    rank = torch.zeros_like(wish, dtype=torch.int64)
    rank[wish.argsort()] = torch.arange(1, len(wish) + 1)
    rank = rank * (wish > 0)
    best = rank[number].amax(1)  # of each triangle
    seen = torch.where(places >= 0, best[places.clamp(min=0) // 3], 0)
    return (rank > 0) & (rank == seen.amax(1))


def split(mesh: Mesh) -> Mesh:
    """Every invalid edge halved, and what comes of it, until all are valid. The new node's metric is the mean of its
    edge's."""
    for _ in range(ROUNDS):
        edges, number, places = _sides(mesh.cells)
        long = lengths(mesh, edges)
        chosen = _first_among(torch.where(long > 1 + TOLERANCE, long, 0.0), number, places)
        if not bool(chosen.any()):
            return mesh
        i, j = edges[:, chosen]
        middle = torch.full((edges.shape[1],), -1, dtype=torch.int64)
        middle[chosen] = len(mesh.points) + torch.arange(len(i))
        cut = places[chosen].flatten()
        cut = cut[cut >= 0]
        triangle, corner = cut // 3, cut % 3
        node = middle[number[triangle, corner]]
        tip, left, right = (mesh.cells[triangle, (corner + k) % 3] for k in range(3))
        whole = torch.ones(len(mesh.cells), dtype=torch.bool)
        whole[triangle] = False
        halves = torch.cat([torch.stack([tip, left, node], 1), torch.stack([tip, node, right], 1)])
        mesh = Mesh(
            torch.cat([mesh.points, 0.5 * (mesh.points[i] + mesh.points[j])]),
            torch.cat([mesh.cells[whole], halves]),
            torch.cat([mesh.sizing, 0.5 * (mesh.sizing[i] + mesh.sizing[j])]),
            torch.cat([mesh.keep, torch.zeros(len(i), dtype=torch.bool)]),
        )
    raise ValueError(f"edges are still too long after {ROUNDS} rounds of splitting: the sizing field is too fine")


def flip(mesh: Mesh) -> Mesh:
    """Edges turned within their two triangles as long as the anisotropic Delaunay test asks for it."""
    points, sizing = mesh.points, mesh.sizing
    cells = mesh.cells.clone()
    smallest = FLAT * float(signed_areas(points, cells).sum())
    for _ in range(ROUNDS):
        edges, number, places = _sides(cells)
        inside = (places >= 0).all(1)
        one, other = places.clamp(min=0).T
        k, i, j = (cells[one // 3, (one % 3 + step) % 3] for step in range(3))  # i, j, k runs counter-clockwise
        m = cells[other // 3, other % 3]
        metric = (sizing[i] + sizing[j] + sizing[k] + sizing[m]) / 4
        wish = -_delaunay(points, metric, i, j, k, m)
        turned = torch.stack([torch.stack([k, i, m], 1), torch.stack([m, j, k], 1)])
        area = signed_areas(points, turned.flatten(0, 1)).view(2, -1).amin(0)
        new = torch.stack([k, m]).sort(0).values
        exists = torch.isin(_keys(new, len(points)), _keys(edges, len(points)))
        allowed = inside & (area > smallest) & ~exists & (lengths(mesh, new) <= 1 + TOLERANCE)
        chosen = _first_among(torch.where(allowed & (wish > 1e-9), wish, 0.0), number, places)
        chosen = _distinct(chosen, wish, _keys(new, len(points)))
        if not bool(chosen.any()):
            break
        cells[one[chosen] // 3], cells[other[chosen] // 3] = turned[0, chosen], turned[1, chosen]
    return Mesh(points, cells, sizing, mesh.keep)


def _delaunay(points: Tensor, metric: Tensor, i: Tensor, j: Tensor, k: Tensor, m: Tensor) -> Tensor:
    """Below 0 where edge ij, seen from k and m, should be flipped: sin(a + b) of the angles a at k and b at m in
    `metric` (E, 2, 2), up to a positive factor that makes it independent of length."""

    def seen(tip: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        a, b = points[left] - points[tip], points[right] - points[tip]
        cross = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) * torch.linalg.det(metric).sqrt()
        return cross, torch.einsum("ea,eab,eb->e", a, metric, b)

    (sine_k, cosine_k), (sine_m, cosine_m) = seen(k, i, j), seen(m, j, i)
    size = (sine_k.square() + cosine_k.square()).sqrt() * (sine_m.square() + cosine_m.square()).sqrt()
    return (sine_k * cosine_m + cosine_k * sine_m) / size.clamp(min=1e-300)


def _keys(edges: Tensor, nodes: int) -> Tensor:
    """One number for every edge (2, E) whose smaller end comes first."""
    return edges[0] * nodes + edges[1]


def _distinct(chosen: Tensor, wish: Tensor, keys: Tensor) -> Tensor:
    """`chosen` without those that would make the same edge as a stronger one."""
    place = chosen.nonzero().flatten()
    place = place[wish[place].argsort(descending=True, stable=True)]
    order = keys[place].argsort(stable=True)
    ranked = keys[place][order]
    first = torch.ones_like(ranked, dtype=torch.bool)
    first[1:] = ranked[1:] != ranked[:-1]
    kept = torch.zeros_like(chosen)
    kept[place[order[first]]] = True
    return kept


def collapse(mesh: Mesh) -> Mesh:
    """Nodes merged into a neighbour wherever all edges stay valid, the shortest edges first."""
    smallest = FLAT * float(signed_areas(mesh.points, mesh.cells).sum())
    for _ in range(ROUNDS):
        gone, into = _collapsible(mesh, smallest)
        if not len(gone):
            return mesh
        name = torch.arange(len(mesh.points))
        name[gone] = into
        cells = name[mesh.cells]
        cells = cells[(cells != cells.roll(1, 1)).all(1)]
        stays = torch.ones(len(name), dtype=torch.bool)
        stays[gone] = False
        mesh = Mesh(mesh.points[stays], (stays.cumsum(0) - 1)[cells], mesh.sizing[stays], mesh.keep[stays])
    return mesh


def _collapsible(mesh: Mesh, smallest: float) -> tuple[Tensor, Tensor]:
    """Nodes that may go and the neighbours they merge into, no two of them with a common neighbour."""
    points, cells, nodes = mesh.points, mesh.cells, len(mesh.points)
    once = unique_edges(cells)
    outline = boundary_edges(cells)
    on_outline = torch.zeros(nodes, dtype=torch.bool)
    on_outline[outline.flatten()] = True
    gone, into = torch.cat([once, once.flip(0)], 1)
    along = torch.isin(_keys(torch.stack([gone, into]).sort(0).values, nodes), _keys(outline, nodes))
    possible = ~mesh.keep[gone] & (~on_outline[gone] | (along & ~_corners(points, outline)[gone]))
    gone, into, along = gone[possible], into[possible], along[possible]

    # every neighbour of the node that goes: the edge it would get must be valid, and common neighbours are counted
    start, ring = _neighbours(torch.cat([once, once.flip(0)], 1), nodes)
    place, around = _expanded(start, ring, gone)
    other = around != into[place]
    pair = torch.stack([into[place], around])
    joined = torch.isin(_keys(pair.sort(0).values, nodes), _keys(once, nodes))
    common = torch.zeros(len(gone), dtype=torch.int64).index_add(0, place, (joined & other).long())
    wrong = torch.zeros(len(gone), dtype=torch.int64)
    wrong.index_add_(0, place, (other & (lengths(mesh, pair) > 1 + TOLERANCE)).long())

    # every triangle of the node that goes must keep its orientation, unless it vanishes
    corner = torch.stack([cells.flatten(), torch.arange(len(cells)).repeat_interleave(3)])
    start, owned = _neighbours(corner.flip(0), nodes)
    place, triangle = _expanded(start, owned, gone)
    moved = torch.where(cells[triangle] == gone[place, None], into[place, None], cells[triangle])
    vanishes = (cells[triangle] == into[place, None]).any(1)
    turned = ~vanishes & (signed_areas(points, moved) <= smallest)
    wrong.index_add_(0, place, turned.long())
    good = (wrong == 0) & (common == torch.where(along, 1, 2))
    gone, into = gone[good], into[good]
    if not len(gone):
        return gone, into

    # the shortest edge of each node; then nodes with no better one within two edges
    short = lengths(mesh, torch.stack([gone, into]))
    order = short.argsort(descending=True, stable=True)
    rank = torch.zeros(nodes, dtype=torch.int64)
    target = torch.zeros(nodes, dtype=torch.int64)
    best = torch.zeros(nodes, dtype=torch.int64).scatter_reduce(
        0, gone[order], torch.arange(1, len(order) + 1), "amax", include_self=True
    )
    has = best > 0
    rank[has], target[has] = best[has], into[order[best[has] - 1]]
    around_all = rank
    for _ in range(2):
        wider = around_all.clone()
        both = torch.cat([once, once.flip(0)], 1)
        around_all = wider.scatter_reduce(0, both[1], around_all[both[0]], "amax", include_self=True)
    chosen = (has & (rank == around_all)).nonzero().flatten()
    return chosen, target[chosen]


def _corners(points: Tensor, outline: Tensor) -> Tensor:
    """(nodes,) bool: nodes where the outline turns, or where more than two of its edges meet."""
    both = torch.cat([outline, outline.flip(0)], 1)
    away = points[both[1]] - points[both[0]]
    away = away / away.norm(dim=1, keepdim=True)
    total = torch.zeros(len(points), 2, dtype=points.dtype).index_add(0, both[0], away)
    meets = torch.bincount(both[0], minlength=len(points))
    return (meets > 0) & ((meets != 2) | (total.norm(dim=1) > 1e-9))


def _neighbours(pairs: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """Pairs (what, of whom) in rows: pointers (nodes + 1,) and, sorted by `of whom`, what."""
    order = pairs[1].argsort(stable=True)
    pointer = torch.zeros(nodes + 1, dtype=torch.int64)
    pointer[1:] = torch.bincount(pairs[1], minlength=nodes).cumsum(0)
    return pointer, pairs[0][order]


def _expanded(pointer: Tensor, values: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """For a list of nodes, all their values one after the other, and the place in the list that each belongs to."""
    counts = pointer[nodes + 1] - pointer[nodes]
    place = torch.arange(len(nodes)).repeat_interleave(counts)
    within = torch.arange(len(place)) - (counts.cumsum(0) - counts)[place]
    return place, values[pointer[nodes][place] + within]


def sizing_of(points: Tensor, edge_index: Tensor, rounds: int = 200) -> Tensor:
    """(nodes, 2, 2) the sizing field that a mesh itself follows: for each node the ellipse u^T S u <= 1 of least area
    around the origin that holds all its edges; what simulators with a remesher of their own give to learn from.

    points: (nodes, 2);  edge_index: (2, E) both ways. By the multiplicative update of the weights w of the edges,
    M = sum w u u^T, w <- w u^T M^-1 u / 2 (Titterington 1976), then scaled so that the longest edge just fits.
    """
    sender, receiver = edge_index
    u = (points[sender] - points[receiver]).double()
    nodes = len(points)
    weight = 1.0 / torch.bincount(receiver, minlength=nodes).clamp(min=1)[receiver].double()
    outer = torch.einsum("ea,eb->eab", u, u)

    def inverse(weight: Tensor) -> tuple[Tensor, Tensor]:
        moment = torch.zeros(nodes, 2, 2, dtype=torch.float64).index_add(0, receiver, weight[:, None, None] * outer)
        made = torch.linalg.inv(moment)
        return made, torch.einsum("ea,eab,eb->e", u, made[receiver], u)

    for _ in range(rounds):
        weight = weight * inverse(weight)[1] / 2
    made, reach = inverse(weight)
    longest = torch.zeros(nodes, dtype=torch.float64).scatter_reduce(0, receiver, reach, "amax")
    return made / longest[:, None, None]


def interpolate(points: Tensor, cells: Tensor, values: Tensor, wanted: Tensor) -> Tensor:
    """(m, ...) values (nodes, ...) at the places `wanted` (m, 2), linear on each triangle; a place outside all of them
    takes the nearest triangle's plane."""
    a, b, c = (points.double()[corner] for corner in cells.T)
    area = 2 * signed_areas(points.double(), cells)
    found, shares = [], []
    for part in wanted.double().split(max(1, (1 << 21) // max(1, len(cells)))):
        p = part[:, None]

        def cross(one: Tensor, two: Tensor, p: Tensor = p) -> Tensor:
            s, t = one - p, two - p
            return (s[..., 0] * t[..., 1] - s[..., 1] * t[..., 0]) / area

        coordinates = torch.stack([cross(b, c), cross(c, a), cross(a, b)], -1)
        inside = coordinates.amin(-1).argmax(1)
        found.append(inside)
        shares.append(coordinates[torch.arange(len(part)), inside])
    corner = values[cells[torch.cat(found)]]
    return torch.einsum("mk,mk...->m...", torch.cat(shares).to(values.dtype), corner)
