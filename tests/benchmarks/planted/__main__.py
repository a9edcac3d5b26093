"""The planted-bias study: whether the verdicts are right.

``python -m tests.benchmarks.planted [--results FOLDER] [--workers 2] [--jobs N] [--quick]``

A killed study goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from audit.atomic import replacing
from tests.benchmarks.planted.study import QUICK, Settings, jobs, run
from tests.benchmarks.planted.tables import markdown, read

DESCRIPTION = "The planted-bias study: whether the verdicts are right."
RESULTS = Path(tempfile.gettempdir()) / "cuecheck-planted"
PUBLISHED = Path(__file__).with_name("RESULTS.md")
HEADING = """# The planted-bias study

`python -m tests.benchmarks.planted`: {models} models, {minutes:.0f} minutes on two cores.

Truth is the spurious score, P(cross predicted | cue added to rings) minus the same without the
cue: a model relies where it is .25 or more above the mean of the cue's null models, and is clean
at .05 or less. This audit ranks models by the lower limit of the weakest act (the largest over the
findings). AUC has Newcombe's interval, rates of models Wilson's, rates of audits and intervals
Wilson's at the effective number of models.

"""


def main() -> int:
    """Do the open jobs, then print the tables and write them beside this file."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.planted", description=DESCRIPTION
    )
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
    study = read(folder)
    text = markdown(study)
    print(text)
    if not chosen.quick:
        heading = HEADING.format(minutes=study.seconds / 120, models=len(study.models))
        with replacing(PUBLISHED) as temporary:
            temporary.write_text(heading + text)
    print("\n".join(errors), file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
