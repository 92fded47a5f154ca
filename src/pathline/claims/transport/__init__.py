"""Claims of the room `transport`."""
