"""The verdict as Markdown for a pull request, and names made safe for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from audit.config import Audit
from audit.gate.findings import Finding
from audit.gate.reasons import percent
from audit.gate.verdict import Verdict

_ROWS = 20  # of each list in the summary
_BYTES = 14_000  # of each list in the summary: four of them fit into a comment of 64 KB
_NAME, _TEXT = 80, 600  # characters of a name and of a sentence
SEVERITY = ("ERROR", "CONFIRMED", "INCONCLUSIVE", "WAIVED", "KNOWN", "CLEARED")


def summary_markdown(config: Audit, findings: Sequence[Finding], verdict: Verdict) -> str:
    """Short Markdown for a pull request: the verdict, warnings, findings (worst first), remedies.

    Names from the data are escaped: no markup, link, mention or line break survives. However many
    findings there are, and however long their names, it stays under 64 KB and says how many were
    left out.
    """
    ranked = sorted(
        findings, key=lambda finding: (SEVERITY.index(finding.status), -(finding.effect or 0.0))
    )
    counted = [f"{count:,} {status}" for status, count in verdict.counts.items() if count]
    lines = [
        f"## Bias audit {markdown_text(config.name)}: {verdict.verdict}",
        "",
        markdown_text(verdict.reason, _TEXT),
        "",
        f"{', '.join(counted) or 'No test'}. "
        "Pictures and all numbers: [report.html](report.html) in the run folder.",
    ]
    warnings = [f"- **Warning:** {markdown_text(text, _TEXT)}" for text in verdict.warnings]
    accepted = [
        f"- {finding.status}: {markdown_text(finding.reason, _TEXT)}"
        for finding in ranked
        if finding.status in ("WAIVED", "KNOWN")
    ]
    limits = f"{100 * config.statistics.confidence:.4g} % limits"
    head = [
        f"| status | region | class | effect | {limits} | independent samples | attention |",
        "| --- | --- | --- | ---: | ---: | ---: | --- |",
    ]
    lines += _list(warnings)
    lines += _list([_table_row(finding) for finding in ranked], head)
    lines += _list(accepted)
    lines += _list(_remedies(ranked), ["What to do:", ""])
    return "\n".join(lines) + "\n"


def _list(items: Sequence[str], head: Sequence[str] = ()) -> list[str]:
    """A list as lines, with how many items were left out; nothing where it is empty."""
    if not items:
        return []
    sizes = accumulate(len(item.encode()) for item in items[:_ROWS])
    kept = sum(size <= _BYTES for size in sizes)
    more = ["", f"… and {len(items) - kept:,} more."] if kept < len(items) else []
    return ["", *head, *items[:kept], *more]


def _remedies(ranked: Sequence[Finding]) -> list[str]:
    """What to do about the findings, once for each thing to do."""
    advised = {
        (finding.region, finding.remedy.sentence): finding.origin
        for finding in ranked
        if finding.remedy
    }
    return [
        f"- {markdown_text(region)}{f' ({origin})' if origin else ''}: "
        f"{markdown_text(sentence, _TEXT)}"
        for (region, sentence), origin in advised.items()
    ]


def _table_row(finding: Finding) -> str:
    target = "all" if finding.target_class == "*" else markdown_text(finding.target_class)
    cells = [
        f"{finding.status}, {finding.change}" if finding.change else finding.status,
        markdown_text(finding.region),
        target,
        percent(finding.effect),
        "unknown" if finding.low is None else f"{percent(finding.low)} to {percent(finding.high)}",
        f"{finding.clusters:,}",
        finding.reading or finding.attention,
    ]
    return f"| {' | '.join(cells)} |"


def markdown_text(text: str, limit: int = _NAME) -> str:
    """Text that Markdown and HTML show as it is, on one line, cut to ``limit`` characters.

    Everything but letters, digits and harmless punctuation becomes a character reference, which
    cannot form markup; mentions, issue numbers and emoji names are found after that, so a
    zero-width space parts them.

    >>> markdown_text("a|b"), markdown_text("@all", 3)
    ('a&#124;b', '&#64;&#8203;a…')
    """
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return "".join(_escape(character) for character in cut)


def _escape(character: str) -> str:
    if character.isalnum() or character in " ,;%'()…":
        return character
    if not character.isprintable():
        return " "
    apart = "&#8203;" if character in "@#:" else ""
    return f"&#{ord(character)};{apart}"


def refusal_markdown(name: str, verdict: Verdict) -> str:
    """Markdown for a run that could not be judged at all: the verdict and why."""
    return (
        f"## Bias audit {markdown_text(name)}: {verdict.verdict}\n\n"
        f"{markdown_text(verdict.reason, _TEXT)}\n"
    )


def printable(text: str) -> str:
    """Text without control characters: XML cannot hold them, and terminals obey them."""
    return "".join(character if character.isprintable() else " " for character in text)
