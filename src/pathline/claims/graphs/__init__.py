"""Claims of the room `graphs`."""
