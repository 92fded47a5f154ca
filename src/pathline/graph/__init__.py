"""Graphs as tensors: building, weighting, walking, embedding, and reducing over segments.

Everywhere `edge_index` is (2, E) int64 with row 0 the sender and row 1 the receiver, and a dense adjacency has
`adjacency[i, j]` = weight of the edge from i to j.
"""

from pathline.graph.adjacency import (
    dense_adjacency,
    edges_of,
    effective_resistance,
    gaussian_kernel,
    hop_distances,
    laplacian,
    largest_eigenvalue,
    random_walk,
    random_walk_pair,
    scaled_laplacian,
    symmetric,
    symmetric_edge_weights,
)
from pathline.graph.build import (
    complete_graph,
    disjoint_union,
    knn_graph,
    lattice_graph,
    radius_graph,
    repeat_graph,
)
from pathline.graph.mesh import (
    boundary_edges,
    delaunay,
    euler_characteristic,
    mesh_edges,
    signed_areas,
    unique_edges,
    world_edges,
)
from pathline.graph.node2vec import node2vec
from pathline.graph.segment import Ends, Segments, segment_max, segment_mean, segment_softmax, segment_sum
from pathline.graph.walks import CSR, node2vec_walks, to_csr, uniform_walks

__all__ = [
    "CSR",
    "Ends",
    "Segments",
    "boundary_edges",
    "complete_graph",
    "delaunay",
    "dense_adjacency",
    "disjoint_union",
    "edges_of",
    "effective_resistance",
    "euler_characteristic",
    "gaussian_kernel",
    "hop_distances",
    "knn_graph",
    "laplacian",
    "largest_eigenvalue",
    "lattice_graph",
    "mesh_edges",
    "node2vec",
    "node2vec_walks",
    "radius_graph",
    "random_walk",
    "random_walk_pair",
    "repeat_graph",
    "scaled_laplacian",
    "segment_max",
    "segment_mean",
    "segment_softmax",
    "segment_sum",
    "signed_areas",
    "symmetric",
    "symmetric_edge_weights",
    "to_csr",
    "uniform_walks",
    "unique_edges",
    "world_edges",
]
