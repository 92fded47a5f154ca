"""Readers: one file per format. Each returns plain tables or arrays and names file, row and column when it cannot."""
