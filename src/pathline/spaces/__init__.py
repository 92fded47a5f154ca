"""Spaces that are not all of R^n, and densities on them: intervals and circles."""
