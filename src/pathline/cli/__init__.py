"""The command line. Results go to stdout, everything else to stderr; bad input is one sentence and exit code 2."""

from pathline.cli.app import main

__all__ = ["main"]
