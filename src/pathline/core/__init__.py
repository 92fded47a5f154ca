"""The frame: what a method is, how it is trained and compared, and what counts as evidence. It knows no room."""
