"""`python -m pathline`, the same as `pathline`."""

from pathline.cli import main

if __name__ == "__main__":
    main()
