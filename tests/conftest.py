"""Shared by all tests: one thread, so that numbers do not depend on how many tests run side by side."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
