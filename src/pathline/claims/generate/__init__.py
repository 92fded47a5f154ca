"""Claims of the room `generate`."""
