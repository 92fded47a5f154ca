"""Claims of the room `simulate`."""
