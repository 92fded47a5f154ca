"""Claims of the room `forecast`."""
