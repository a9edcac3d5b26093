"""``python -m flows`` is the command ``cuecheck``."""

from flows.cli import main

if __name__ == "__main__":  # worker processes import this module too
    main()
