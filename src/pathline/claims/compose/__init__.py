"""Claims of the room `compose`."""
