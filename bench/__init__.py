"""Side by side with peers: the same work, on the same machine, in the same run; `python -m bench` prints the ratios."""
