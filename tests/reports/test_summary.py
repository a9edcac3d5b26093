"""The summary for a pull request: rendered as a pull request renders it, whatever the names are."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from audit.gate import Finding, Status, decide, summary_markdown
from audit.gate.findings import Remedy
from tests.evidence import planted

LIMIT = 64 * 1024  # bytes
CONFIG = planted.config()
HOSTILE = [
    "</td></table><script>alert(1)</script>",
    "a | b\n| PASS | forged |",
    "[click](https://evil.example) <https://evil.example> https://evil.example",
    "![x](https://evil.example/p.png)",
    "@everyone, #123, owner/name#1, GH-1",
    "`code` **bold** ~~no~~ \\| $x$ :tada:",
    "- [ ] task\n# heading\n---",
]
LONGEST = [letter * 5_000 for letter in ("x", "<", "\U0001f600", "漢", "&")]


class Rendered(HTMLParser):
    """Elements with their attributes, and the text of the cells of the table, by row."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((f"/{tag}", {}))

    def handle_data(self, data: str) -> None:
        if self.elements[-1][0] in ("td", "th"):
            self.rows[-1][-1] += data


def finding(status: Status, name: str = "hair", reason: str = "Because.") -> Finding:
    return Finding(
        "f" * 16, name, name, "forbidden", "removal", status, reason,
        effect=0.3, low=0.22, high=0.38, n=200, clusters=1200,
        remedy=Remedy(f"Collect more of {name}.") if status == "CONFIRMED" else None,
    )  # fmt: skip


def summary(findings: list[Finding], warnings: list[str] | None = None) -> str:
    return summary_markdown(CONFIG, findings, decide(findings, warnings or []))


def shown(name: str) -> str:
    """A name as the summary shows it: on one line, mentions and numbers parted."""
    parted = re.sub(r"([@#:])", "\\1\u200b", "".join(c if c.isprintable() else " " for c in name))
    return parted.strip()


def test_verdict_reason_counts_and_link_come_first() -> None:
    lines = summary([finding("CLEARED"), finding("CONFIRMED"), finding("INCONCLUSIVE")]).split("\n")
    assert lines[0] == "## Bias audit planted: FAIL"
    assert lines[2].startswith("1 of 3 required tests show")
    assert lines[4].startswith("1 CONFIRMED, 1 CLEARED, 1 INCONCLUSIVE.")
    assert "[report.html](report.html)" in lines[4]
    rows = [line.split(" | ")[0] for line in lines if line.startswith("| ")]
    assert rows == ["| status", "| ---", "| CONFIRMED", "| INCONCLUSIVE", "| CLEARED"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_rendered_as_text(name: str) -> None:
    config = CONFIG.model_copy(update={"name": name})
    findings = [finding("CONFIRMED", name), finding("WAIVED", name, f"Waived by {name}.")]
    text = summary_markdown(config, findings, decide(findings, [f"{name} is void."]))
    page = Rendered(text)
    plain = Rendered(text_of_plain_names())
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert [attributes for tag, attributes in page.elements if tag == "a"] == [
        {"href": "report.html"}
    ]
    assert [row[1:3] for row in page.rows[1:]] == [[shown(name)] * 2] * 2
    assert not re.search(r"[@#][\w]", text.replace("&#", ""))


def text_of_plain_names() -> str:
    findings = [finding("CONFIRMED"), finding("WAIVED", reason="Waived by ana.")]
    return summary_markdown(CONFIG, findings, decide(findings, ["This is void."]))


@pytest.mark.parametrize("name", ["hair", *LONGEST])
def test_2000_findings_stay_under_64_kb_and_what_is_left_out_is_counted(name: str) -> None:
    statuses: tuple[Status, ...] = ("CONFIRMED", "INCONCLUSIVE", "WAIVED", "CLEARED")
    findings = [
        replace(finding(statuses[i % 4], f"{i} {name}"), reason=f"{i} {name}") for i in range(2000)
    ]
    config = CONFIG.model_copy(update={"name": name})
    verdict = decide(findings, [f"{i} {name}" for i in range(2000)])
    text = summary_markdown(config, findings, verdict)
    assert len(text.encode()) < LIMIT
    lines = text.split("\n")
    rows = sum(line.startswith("| CONFIRMED") for line in lines)
    warned = sum(line.startswith("- **Warning:**") for line in lines)
    waived = sum(line.startswith("- WAIVED") for line in lines)
    advised = sum(line.startswith("- ") for line in lines) - warned - waived
    assert min(rows, warned, waived, advised) > 0
    left_out = [int(line.split()[2].replace(",", "")) for line in lines if line.startswith("… and")]
    assert left_out == [2000 - warned, 2000 - rows, 500 - waived, 500 - advised]
