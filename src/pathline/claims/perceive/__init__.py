"""Claims of the room `perceive`."""
