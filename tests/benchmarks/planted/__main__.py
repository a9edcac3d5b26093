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

Made by `python -m tests.benchmarks.planted`: {done} of {all} jobs, {models} models, {minutes:.0f}
minutes of two cores (shared with other work or not). A killed study goes on where it stopped.

Rings and crosses are to be told apart, on pictures of 40 x 40 pixels with plain and textured
backgrounds. A cue goes with the cross: P(cue | cross) = p, P(cue | ring) = 1 - p in the training
pictures. Each model is audited on fresh pictures in which the cue is independent of the class, by
the same code as a run: placebos, two fills, tests, intervals, decision table, all defaults.

- **Truth** is the spurious score: P(cross predicted | cue added to rings) minus the same without
  the cue, on fresh pictures. A model *relies* where it is .25 or more above the mean of the cue's
  null models, is *clean* at .05 or less; what lies *between* is not counted.
- **Nulls**: models trained without the cue (no-cue: nor is it in their audits, where the annotation
  names an empty place), with the cue independent of the class, and with p = .95 in the data but the
  cue shown and hidden at random while training (trained-out).
- **Localised** cues are tested by removal: hair (red or dark, every head has some), a tag in the
  corner, a small tag and a second object at any place. Background stripes, tint and blur are tested
  by sufficiency of all but the object. Tint and blur lie on the object too, which no annotated
  region can show.
- **Ranking**: this audit's score is the lower limit of the weakest act, the largest over the
  findings; it was fixed before the first result. The baselines see the same models and pictures.
- **Sufficiency** has been corrected for chance since a first part of this study (148 jobs) showed
  that without it 5 of 17 models which rely on such a cue PASS; for these cues the table is
  therefore no independent test of that choice.
- **Intervals** are 95 %: Newcombe's for AUC, Wilson's for rates of models, Wilson's at the
  effective number of models for rates of audits and of intervals.

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
    if errors:  # without all jobs there are no tables
        print("\n".join(errors), file=sys.stderr)
        return 1
    study = read(folder)
    text = markdown(study)
    print(text)
    if not chosen.quick:
        heading = HEADING.format(
            done=len(study.models) + len(study.power),
            all=len(jobs(settings)),
            models=len(study.models),
            minutes=study.seconds / 120,
        )
        with replacing(PUBLISHED) as temporary:
            temporary.write_text(heading + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
