"""The audit record: what was tested, on what, with what result, in Markdown, for regulators.

It describes; it claims no conformity. Everything that is not of the template is escaped, so that a
name from the data is text wherever the file is shown.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from audit.checks import explainer_trusted
from audit.gate.outputs import SEVERITY, markdown_text
from audit.gate.reasons import percent
from audit.runs.chain import previous_link
from audit.runs.files import file_digest, read_json, write_text
from audit.runs.folder import Run as Folder
from audit.runs.record import check_record
from audit.tables import ALL
from reports import words
from reports.output import refuse_in_run
from reports.run import Run, read_run

Record = dict[str, Any]

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_LONGEST = 600  # characters of a text
_PLAIN = re.compile(r"[0-9][0-9A-Za-z.:+-]*")  # numbers, versions, times


def build_record(run: Path, output: Path) -> Path:
    """Write the audit record of a finished and unaltered run, from its folder alone.

    Parameters
    ----------
    run
        The run folder, which stays as it is.
    output
        The file to write, outside the run.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RunError
        If the run is unfinished, altered or incomplete, or the file would lie in it.
    """
    folder = Folder(run)
    check_record(folder)
    refuse_in_run(output)
    write_text(output, render_record(read_run(run), folder))
    return output


def render_record(run: Run, folder: Folder) -> str:
    """The audit record as Markdown."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        finalize=_escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": _percent,
        "number": _number,
        "short": _short,
        "plain": _plain,
    }
    ranked = sorted(run.findings, key=lambda finding: SEVERITY.index(finding["status"]))
    accuracy = run.evidence[run.evidence["measure"] == "accuracy"]
    overall = accuracy[accuracy["target_class"] == ALL]
    sealed = read_json(folder.record, "files")
    return environment.get_template("record.md").render(
        run=run,
        config=run.config,
        folder=folder.folder.resolve().name,
        findings=ranked,
        open_findings=[f for f in ranked if f["status"] in ("INCONCLUSIVE", "ERROR")],
        associations=_associations(ranked),
        remedies=sorted({f["remedy"]["sentence"] for f in ranked if f["remedy"]}),
        untested=_untested(run),
        accuracy=_rows(overall[overall["attribute"] == ALL]),
        classes=_rows(accuracy[(accuracy["target_class"] != ALL) & (accuracy["attribute"] == ALL)]),
        subgroups=_rows(overall[overall["attribute"] != ALL]),
        worst=_rows(run.evidence[run.evidence["measure"] == "worst_group"]),
        attacked=_rows(_adversary(run)),
        trusted=explainer_trusted(run.scorecard),
        parts=run.samples.groupby(["part", "status"], observed=True).size().to_dict(),
        limits=words.LIMITS,
        sealed=sealed,
        record_sha256=file_digest(folder.record),
        previous=previous_link(folder),
        signed=folder.signature.is_file(),
    )


def _escaped(value: Any) -> str:
    if isinstance(value, Markup):
        return str(value)
    return "not recorded" if value is None else markdown_text(str(value), _LONGEST)


def _percent(value: float | None) -> Markup:
    return Markup(percent(None if value is None or value != value else value))  # noqa: PLR0124 - NaN


def _number(value: float | None, digits: int = 0) -> Markup:
    return Markup("unknown" if value is None else f"{value:,.{digits}f}")


def _short(value: float) -> Markup:
    return Markup(f"{value:.4g}")


def _plain(value: Any) -> Any:
    """A number, version or time as it is; anything else is escaped."""
    return Markup(value) if _PLAIN.fullmatch(str(value)) else value


def _rows(frame: Any) -> list[Record]:
    found: list[Record] = frame[frame["effect"].notna()].to_dict("records")
    return found


def _adversary(run: Run) -> Any:
    scorecard = run.scorecard
    chosen = (scorecard["check"] == "robustness") & (scorecard["statistic"] == "changed answers")
    return scorecard[chosen]


def _associations(findings: list[Record]) -> list[Record]:
    """What the data ties each class to, once for each class and factor."""
    found = {
        (finding["target_class"], bias["factor"], bias["part"]): bias | {"of": finding}
        for finding in findings
        if (bias := finding["data_bias"]) is not None
    }
    return list(found.values())


def _untested(run: Run) -> list[str]:
    """Regions whose part in the decision no finding is about."""
    tested = {finding["region"] for finding in run.findings}
    return [name for name in run.config.regions.names if name not in tested]
