"""The planted-bias study. ``python -m tests.benchmarks.planted [--quick] [--jobs N] [--tables]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.planted.study import QUICK, Settings, jobs, run

RESULTS = Path(tempfile.gettempdir()) / "cuecheck-planted"


def main() -> int:
    """Do the open jobs, then print the tables and write them beside this file."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.planted", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="a file per job")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--jobs", type=int, help="only the first so many jobs")
    parser.add_argument("--only", default="", help="only jobs whose name contains this")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it works at all")
    parser.add_argument("--tables", action="store_true", help="only print, from what is done")
    chosen = parser.parse_args()
    settings = QUICK if chosen.quick else Settings()
    folder = chosen.results / "quick" if chosen.quick else chosen.results
    todo = [job for job in jobs(settings) if chosen.only in job.name][: chosen.jobs]
    errors = [] if chosen.tables else run(folder, settings, todo, chosen.workers)
    print("\n".join(errors), file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
