"""``python -m flows`` is the command ``cuecheck``."""

from flows.cli import main

main()
