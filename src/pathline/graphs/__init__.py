"""Room `graphs`: given a graph, say what its nodes, its links or itself are."""
