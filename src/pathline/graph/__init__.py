"""Graphs as tensors: building, weighting, walking, rewiring, encoding, sampling, and reducing over segments.

Everywhere `edge_index` is (2, E) int64 with row 0 the sender and row 1 the receiver, and a dense adjacency has
`adjacency[i, j]` = weight of the edge from i to j.
"""

from pathline.graph.adjacency import (
    dense_adjacency,
    edges_of,
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
from pathline.graph.bipartite import bipartite_adjacency, interaction_matrix
from pathline.graph.build import (
    complete_graph,
    disjoint_union,
    knn_graph,
    lattice_graph,
    radius_graph,
    repeat_graph,
)
from pathline.graph.curvature import balanced_forman, ollivier_ricci
from pathline.graph.expressiveness import automorphism_orbits, colour_refinement, partition, partition_faults
from pathline.graph.hops import distance_matrix, hop_sets
from pathline.graph.implicit import ImplicitMemory, personalised_pagerank
from pathline.graph.links import both_ways, links_of, split_links
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
from pathline.graph.ragged import entries_of
from pathline.graph.resistance import effective_resistance, total_resistance
from pathline.graph.rewiring import rewire
from pathline.graph.sampling import NeighbourBlock, incoming, sample_block, sample_neighbours
from pathline.graph.segment import Ends, Segments, segment_max, segment_mean, segment_softmax, segment_sum
from pathline.graph.sheaf import SheafLaplacian, map_parameters, restriction_maps
from pathline.graph.smoothness import cumulative_attention, dirichlet_energy, row_spread
from pathline.graph.sparse import Edges, SparseMatrix, gcn_weights, polynomial
from pathline.graph.walks import CSR, node2vec_walks, to_csr, uniform_walks

__all__ = [
    "CSR",
    "Edges",
    "Ends",
    "ImplicitMemory",
    "NeighbourBlock",
    "Segments",
    "SheafLaplacian",
    "SparseMatrix",
    "automorphism_orbits",
    "balanced_forman",
    "bipartite_adjacency",
    "both_ways",
    "boundary_edges",
    "colour_refinement",
    "complete_graph",
    "cumulative_attention",
    "delaunay",
    "dense_adjacency",
    "dirichlet_energy",
    "disjoint_union",
    "distance_matrix",
    "edges_of",
    "effective_resistance",
    "entries_of",
    "euler_characteristic",
    "gaussian_kernel",
    "gcn_weights",
    "hop_distances",
    "hop_sets",
    "incoming",
    "interaction_matrix",
    "knn_graph",
    "laplacian",
    "largest_eigenvalue",
    "lattice_graph",
    "links_of",
    "map_parameters",
    "mesh_edges",
    "node2vec",
    "node2vec_walks",
    "ollivier_ricci",
    "partition",
    "partition_faults",
    "personalised_pagerank",
    "polynomial",
    "radius_graph",
    "random_walk",
    "random_walk_pair",
    "repeat_graph",
    "restriction_maps",
    "rewire",
    "row_spread",
    "sample_block",
    "sample_neighbours",
    "scaled_laplacian",
    "segment_max",
    "segment_mean",
    "segment_softmax",
    "segment_sum",
    "signed_areas",
    "split_links",
    "symmetric",
    "symmetric_edge_weights",
    "to_csr",
    "total_resistance",
    "uniform_walks",
    "unique_edges",
    "world_edges",
]
