"""Claims of the room `events`."""
