"""Claims of the room `track`."""
