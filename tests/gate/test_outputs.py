from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.gate import Finding, Status, decide, refusal_markdown, refused, summary_markdown
from tests.evidence import planted
from tests.evidence.planted import some_examples

CONFIG = planted.config()
HOSTILE = [
    "</script><script>alert(1)</script>",
    "a | b\n| PASS | forged |",
    "[click](https://evil.example)",
    "![x](https://evil.example/p.png)",
    "https://evil.example",
    "@everyone and #1",
    "`code` *bold* _it_ ~~no~~",
    "# heading",
    "&lt;b&gt; &amp;",
    "\x00\x1b[31m\u202e",
    "😀 ../..",
]


def finding(status: Status, region: str = "hair", target_class: str = "nurse") -> Finding:
    return Finding(
        "f" * 16, region, target_class, "forbidden", "removal", status, f"Because of {region}.",
        effect=0.3, low=0.22, high=0.38, n=200, clusters=1200,
    )  # fmt: skip


def summary(*findings: Finding) -> str:
    return summary_markdown(CONFIG, findings, decide(findings))


def test_summary_has_the_verdict_first_and_the_worst_on_top() -> None:
    lines = summary(finding("CLEARED", "face"), finding("CONFIRMED")).splitlines()
    assert lines[0] == "## Bias audit planted: FAIL"
    assert lines[2].startswith("1 of 2 required tests show")
    assert lines[-2] == "| CONFIRMED | hair | nurse | 30 % | 22 % to 38 % | 1,200 | unmeasurable |"
    assert lines[-1].startswith("| CLEARED | face |")


def test_summary_without_findings_or_numbers() -> None:
    assert "Nothing was tested" in summary()
    blank = replace(finding("ERROR"), effect=None, low=None, high=None)
    assert (
        summary(blank).splitlines()[-1]
        == "| ERROR | hair | nurse | unknown | unknown | 1,200 | unmeasurable |"
    )


def test_summary_is_short() -> None:
    text = summary(*(finding("CLEARED", f"r{i}") for i in range(50)))
    assert text.count("| CLEARED |") == 20
    assert text.endswith("… and 30 more.\n")


MARKUP = re.compile(r"[<>\[\]`*_~@|\\!\n\r]|https?:|(?<!&)#")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_text_in_the_summary(name: str) -> None:
    row = summary(finding("CONFIRMED", name, name)).splitlines()[-1]
    cells = row.removeprefix("| ").removesuffix(" |").split(" | ")
    assert len(cells) == 7
    for cell in cells[1:3]:
        assert not MARKUP.search(cell)
        shown = html.unescape(cell).replace("\u200b", "")
        assert shown == "".join(c if c.isprintable() else " " for c in name)


@given(st.text())
@some_examples
def test_no_text_can_make_markup(name: str) -> None:
    text = summary(finding("INCONCLUSIVE", name))
    lines = text.split("\n")
    assert len(lines) == len(summary(finding("INCONCLUSIVE", "plain")).split("\n"))
    assert not MARKUP.search(lines[-2].split(" | ")[1].replace("\u200b", ""))
    assert not MARKUP.search(lines[2])


def test_summary_shows_what_is_accepted_and_why() -> None:
    known = replace(finding("KNOWN"), change="unchanged", reason="Known from the baseline.")
    waived = replace(finding("WAIVED", "face"), reason="Waived by ana up to 2026-03-31.")
    text = summary(known, waived)
    assert "| KNOWN, unchanged | hair |" in text
    assert "- KNOWN: Known from the baseline" in text
    assert "- WAIVED: Waived by ana up to 2026" in text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_refusal_is_one_line_of_text(name: str) -> None:
    head, _, reason, rest = refusal_markdown(name, refused(f"Missing: {name}")).split("\n")
    assert head.startswith("## Bias audit ")
    assert head.endswith(": ERROR")
    assert rest == ""
    said = reason.removeprefix("Missing&#58;").replace("\u200b", "")
    assert said != reason
    assert not MARKUP.search(said)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_waivers_survive_the_summary(name: str) -> None:
    waived = replace(finding("WAIVED"), reason=f"Waived by {name}.")
    verdict = decide([waived], [f"Waiver 1 ({name}) is void."])
    lines = summary_markdown(CONFIG, [waived], verdict).split("\n")
    told = [line for line in lines if line.startswith(("- WAIVED", "- **Warning:**"))]
    assert len(told) == 2
    for line in told:
        said = line.removeprefix("- ").removeprefix("**Warning:**")
        assert not MARKUP.search(said.replace("\u200b", ""))
