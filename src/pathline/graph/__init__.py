"""Graphs as tensors: building, weighting, walking, embedding, and reducing over segments.

Everywhere `edge_index` is (2, E) int64 with row 0 the sender and row 1 the receiver, and a dense adjacency has
`adjacency[i, j]` = weight of the edge from i to j.
"""

from pathline.graph.adjacency import (
    dense_adjacency,
    edges_of,
    gaussian_kernel,
    laplacian,
    random_walk,
    random_walk_pair,
    scaled_laplacian,
    symmetric,
    symmetric_edge_weights,
)
from pathline.graph.bipartite import bipartite_adjacency, entries_of, interaction_matrix
from pathline.graph.build import complete_graph, disjoint_union, knn_graph, radius_graph, repeat_graph
from pathline.graph.expressiveness import automorphism_orbits, colour_refinement, partition, partition_faults
from pathline.graph.implicit import ImplicitMemory, personalised_pagerank
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
from pathline.graph.sampling import NeighbourBlock, sample_neighbours
from pathline.graph.segment import Ends, Segments, segment_max, segment_mean, segment_softmax, segment_sum
from pathline.graph.sheaf import SheafLaplacian, map_parameters, restriction_maps
from pathline.graph.sparse import SparseMatrix, polynomial
from pathline.graph.walks import CSR, node2vec_walks, to_csr, uniform_walks

__all__ = [
    "CSR",
    "Ends",
    "ImplicitMemory",
    "NeighbourBlock",
    "Segments",
    "SheafLaplacian",
    "SparseMatrix",
    "automorphism_orbits",
    "bipartite_adjacency",
    "boundary_edges",
    "colour_refinement",
    "complete_graph",
    "delaunay",
    "dense_adjacency",
    "disjoint_union",
    "edges_of",
    "entries_of",
    "euler_characteristic",
    "gaussian_kernel",
    "interaction_matrix",
    "knn_graph",
    "laplacian",
    "map_parameters",
    "mesh_edges",
    "node2vec",
    "node2vec_walks",
    "partition",
    "partition_faults",
    "personalised_pagerank",
    "polynomial",
    "radius_graph",
    "random_walk",
    "random_walk_pair",
    "repeat_graph",
    "restriction_maps",
    "sample_neighbours",
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
