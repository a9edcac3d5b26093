"""Marks on findings: made by keyboard, kept, exported; what is waived, the gate reads and obeys."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.gate import Act, Finding, read_waivers
from audit.gate.waivers import largest_effect
from audit.judgement import today
from audit.runs.files import file_digest, write_json
from audit.runs.folder import Run
from audit.runs.record import seal
from flows import cli
from reports.build import build_report
from reports.review import _largest, suggested_limit
from tests.gate.runs import write_run
from tests.reports.browser import EXECUTABLE, Page, chromium
from tests.reports.factory import HOSTILE, make_run

in_browser = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium on this machine")

READY = "document.querySelector('#review button') && document.readyState === 'complete'"
SAID = "document.querySelector('#review').textContent"
TYPED = "quotes \" ' \\ : - # & * ! % @ ` {x}\nnext line\ttab ${HOME} $${HOME} 👩🏽‍⚕️ " + HOSTILE[0]
EVERY = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x10000)])) + "👩🏽‍⚕️${HOME:-x}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@dataclass(frozen=True)
class Reviewer:
    """Somebody at the page, by keyboard where a person would be."""

    page: Page
    files: Path

    def open(self, report: Path) -> None:
        self.page.open(report, ready=READY)

    def press(self, key: str) -> None:
        text = {"Enter": "\r", " ": " "}.get(key)
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            codes = {"Enter": 13, " ": 32, "Tab": 9, "ArrowRight": 39}
            self.page.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code={" ": "Space"}.get(key, key),
                windowsVirtualKeyCode=codes[key], **typed,
            )  # fmt: skip

    def focused(self) -> str:
        return str(self.page.evaluate("document.activeElement.closest('label, button').innerText"))

    def button(self, text: str) -> None:
        self.page.evaluate(
            "[...document.querySelectorAll('#review button')]"
            f".find((one) => one.textContent === {text!r}).focus()"
        )
        self.press("Enter")

    def mark(self, fingerprint: str, choice: str) -> None:
        self.page.evaluate(
            f"(() => {{ const finding = document.getElementById('finding-{fingerprint}');"
            "finding.open = true; })()"
        )
        place = f"document.querySelector('.review[data-fingerprint=\"{fingerprint}\"]')"
        self.page.wait(f"{place}.querySelector('input')")
        self.page.evaluate(
            f"[...{place}.querySelectorAll('.choices label')]"
            f".find((one) => one.textContent.startsWith({choice!r})).click()"
        )

    def fill(self, fingerprint: str, field: str, text: str) -> str:
        """Fill a field in; what the page complains about it."""
        found = f".review[data-fingerprint=\"{fingerprint}\"] [data-field='{field}']"
        script = (
            "const input = document.querySelector(SELECTOR); input.value = TEXT;"
            "input.dispatchEvent(new Event('input')); input.dispatchEvent(new Event('change'));"
            "return input.parentElement.querySelector('.complaint').textContent;"
        )
        values = script.replace("SELECTOR", json.dumps(found)).replace("TEXT", json.dumps(text))
        return str(self.page.evaluate(f"(() => {{ {values} }})()")).replace("\u202f", " ")

    def sign(self, name: str) -> None:
        self.page.evaluate("document.getElementById('reviewer').focus()")
        self.page.call("Input.insertText", text=name)

    def exported(self, button: str, name: str) -> Path:
        path = self.files / name
        path.unlink(missing_ok=True)
        self.button(button)
        self.page.wait(f"{SAID}.includes('Exported')")
        return arrived(self.page, path)

    def imported(self, path: Path, said: str) -> None:
        answer = self.page.call(
            "Runtime.evaluate", expression="document.querySelector('#review input[type=file]')"
        )
        self.page.call(
            "DOM.setFileInputFiles", files=[str(path)], objectId=answer["result"]["objectId"]
        )
        self.page.wait(f"{SAID}.includes({said!r})")


def arrived(page: Page, path: Path) -> Path:
    """A download, once it is whole: until then the browser keeps it under another name."""
    for _ in range(200):
        if path.is_file() and path.stat().st_size:
            return path
        page.evaluate("new Promise((done) => setTimeout(done, 25))")
    raise AssertionError(f"{path.name} was not downloaded: {[*path.parent.iterdir()]}")


@pytest.fixture
def reviewer(browser: Page, tmp_path: Path) -> Iterator[Reviewer]:
    """Fails on any console message or request that was caused."""
    browser.problems.clear()
    browser.requests.clear()
    browser.resize(1440)
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    yield Reviewer(browser, tmp_path)
    browser.evaluate("(() => { try { localStorage.clear(); } catch {} })()")
    assert browser.problems == []
    assert not [u for u in browser.requests if not u.startswith(("file:", "data:", "blob:"))]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run that relies on hair, with its report."""
    run = write_run(tmp_path_factory.mktemp("sealed") / "2026 run", hair=0.4)
    write_json(run.provenance, {})
    build_report(run.folder)
    seal(run)
    return run


def confirmed(run: Run) -> list[dict[str, Any]]:
    found = json.loads(run.findings.read_text(encoding="utf-8"))["findings"]
    return [one for one in found if one["status"] == "CONFIRMED"]


def gate(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["cuecheck", "gate", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


@in_browser
def test_exported_waivers_are_read_and_obeyed_by_the_gate(
    reviewer: Reviewer,
    sealed: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", "/somewhere/else")
    reviewer.open(sealed.report)
    reviewer.sign('Ana "A." O\'Neil: lead')
    first, second = (one["fingerprint"] for one in confirmed(sealed))
    for fingerprint in (first, second):
        reviewer.mark(fingerprint, "waive")
        assert reviewer.fill(fingerprint, "reason", TYPED) == ""
    assert reviewer.fill(second, "max_effect", "100") == ""
    path = reviewer.exported("Export waivers", "waivers-2026_run.yaml")

    waivers = read_waivers(path)
    assert [one.fingerprint for one in waivers] == [first, second]
    assert {one.reason for one in waivers} == {TYPED}
    assert {one.owner for one in waivers} == {'Ana "A." O\'Neil: lead'}
    assert {one.created for one in waivers} == {today()}
    assert {one.expires for one in waivers} == {today() + timedelta(90)}
    assert [one.max_effect for one in waivers] == [suggested_limit(confirmed(sealed)[0]), 1.0]
    assert gate(monkeypatch, sealed.folder) == 1
    capsys.readouterr()
    assert gate(monkeypatch, sealed.folder, "--waivers", path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"]["WAIVED"] == 2
    assert told["warnings"] == []

    review = json.loads(
        reviewer.exported("Export review", "review-2026_run.json").read_text(encoding="utf-8")
    )
    recorded = json.loads(sealed.record.read_text())["files"]
    assert review["run"]["id"] == "2026 run"
    assert review["run"]["files"].items() <= recorded.items()
    assert review["run"]["files"]["findings.json"] == file_digest(sealed.findings)
    assert review["date"][:10] == str(today())
    for mark in review["marks"]:
        mark["reason"] = mark["owner"] = EVERY
    write_json(path := reviewer.files / "every.json", review)
    reviewer.imported(path, "Took over 2 marks.")
    waivers = read_waivers(reviewer.exported("Export waivers", "waivers-2026_run.yaml"))
    assert {one.reason for one in waivers} == {one.owner for one in waivers} == {EVERY}


@in_browser
def test_a_waiver_is_asked_for_what_the_gate_demands(reviewer: Reviewer, failed: Path) -> None:
    reviewer.open(failed)
    reviewer.button("Export waivers")
    reviewer.page.wait(f"{SAID}.includes('No finding is marked as waived.')")
    hair = "f0000002"
    reviewer.mark(hair, "waive")
    for field, text, complaint in (
        ("reason", " \n", "Say why this is accepted."),
        ("owner", "", "Name who answers for it."),
        ("expires", "", "Give the last day of the waiver."),
        ("expires", str(today() - timedelta(1)), "This day is over; choose today or a later one."),
        ("expires", str(today()), ""),
        ("max_effect", "", "Give a number from 0 to 100."),
        ("max_effect", "101", "Give a number from 0 to 100."),
        ("max_effect", "-1", "Give a number from 0 to 100."),
        ("max_effect", "1.5", "a waiver that covers less is void."),
        ("max_effect", "60", ""),
    ):
        told = reviewer.fill(hair, field, text)
        assert told.endswith(complaint)
        assert bool(told) == bool(complaint)
    reviewer.button("Export waivers")
    reviewer.page.wait(f"{SAID}.includes('1 waiver must be completed first')")
    assert reviewer.page.evaluate("document.activeElement.dataset.field") == "reason"
    assert not [*reviewer.files.iterdir()]
    only = "[...document.querySelectorAll('.review input[type=radio]')].length"
    reviewer.mark("f0000000", "dispute")  # not decided: nothing to waive
    assert reviewer.page.evaluate(only) == 4 + 3


@in_browser
def test_marks_are_made_by_keyboard_kept_exported_and_taken_over(
    reviewer: Reviewer, passed: Path, failed: Path
) -> None:
    reviewer.open(passed)
    assert "0 of 4 findings marked." in reviewer.page.evaluate(SAID)
    reviewer.button("Export review")
    reviewer.page.wait(f'{SAID}.includes("Give the reviewer\'s name first.")')
    for _ in range(2):
        reviewer.button("Next unmarked")
        assert reviewer.focused() == "none yet"
        reviewer.press("ArrowRight")
        assert reviewer.focused() == "agree"
    reviewer.press("ArrowRight")
    assert reviewer.focused() == "dispute"
    reviewer.press("Tab")
    reviewer.page.call("Input.insertText", text=HOSTILE[0])
    reviewer.sign(HOSTILE[1])
    told = "2 of 4 findings marked: 1 agree, 1 dispute."
    assert told in reviewer.page.evaluate(SAID)
    chips = "[...document.querySelectorAll('summary .mark')].map((one) => one.textContent)"
    assert reviewer.page.evaluate(chips) == ["✓ agreed", "✕ disputed"]

    reviewer.open(failed)  # another run, whose folder has the same name
    assert "0 of 4 findings marked." in reviewer.page.evaluate(SAID)
    reviewer.open(passed)
    assert told in reviewer.page.evaluate(SAID)

    path = reviewer.exported("Export review", "review-run.json")
    review = json.loads(path.read_text(encoding="utf-8"))
    assert review["reviewer"] == HOSTILE[1]
    assert [(one["mark"], one["note"]) for one in review["marks"]] == [
        ("agree", ""),
        ("dispute", HOSTILE[0]),
    ]
    disputed = review["marks"][1]["fingerprint"]
    reviewer.mark(disputed, "none yet")
    assert "1 of 4" in reviewer.page.evaluate(SAID)
    reviewer.imported(path, "Took over 2 marks.")
    assert told in reviewer.page.evaluate(SAID)
    note = f"document.querySelector('[data-fingerprint={disputed}] textarea').value"
    assert reviewer.page.evaluate(note) == HOSTILE[0]

    (other := reviewer.files / "other.json").write_text("{", encoding="utf-8")
    reviewer.imported(other, "This file is not JSON.")
    write_json(other, {"kind": "else"})
    reviewer.imported(other, "This file is not an exported review.")
    reviewer.open(failed)
    reviewer.imported(path, "This review is of another run, with other findings.")
    assert "0 of 4" in reviewer.page.evaluate(SAID)


@in_browser
def test_without_storage_it_works_and_says_that_nothing_is_kept(
    reviewer: Reviewer, passed: Path
) -> None:
    denied = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }})"
    added = reviewer.page.call("Page.addScriptToEvaluateOnNewDocument", source=denied)
    try:
        reviewer.open(passed)
        assert "0 of 4 findings marked." in reviewer.page.evaluate(SAID)
        reviewer.mark("f0000003", "agree")
        text = reviewer.page.evaluate(SAID)
        assert "1 of 4 findings marked: 1 agree." in text
        assert "This browser does not keep your marks" in text
    finally:
        reviewer.page.call("Page.removeScriptToEvaluateOnNewDocument", **added)


@in_browser
def test_waivers_that_the_run_was_judged_with_are_not_lost_unseen(
    reviewer: Reviewer, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", samples=60, pictures=3)
    found = json.loads((run / "findings.json").read_text(encoding="utf-8"))["findings"]
    old, new = (one for one in found if one["status"] == "CONFIRMED")
    old["status"] = "WAIVED"
    write_json(run / "findings.json", {"findings": found})
    reviewer.open(build_report(run))
    reviewer.sign("Ana")
    for finding, told in ((new, "lacks 1 of them"), (old, "Exported 2 waivers.")):
        reviewer.mark(finding["fingerprint"], "waive")
        reviewer.fill(finding["fingerprint"], "reason", "Known.")
        reviewer.exported("Export waivers", "waivers-run.yaml")
        assert told in reviewer.page.evaluate(SAID)
    assert "lacks" not in reviewer.page.evaluate(SAID)


def test_the_largest_effect_is_the_gates_own_and_the_suggestion_covers_it() -> None:
    acts = [
        Act("swap", 9, 9, 0, effect=0.5, upper_limit=None),
        Act("remove:blur", 9, 9, 0, effect=0.2, upper_limit=0.31),
    ]
    for own in (acts, acts[1:], acts[:1], []):
        finding = Finding(
            "f", "hair", "*", "forbidden", "removal", "CONFIRMED", "", effect=0.2, acts=own
        )
        assert _largest(asdict(finding), "effect") == largest_effect(finding)
        assert suggested_limit(asdict(finding)) >= (largest_effect(finding) or 0)
    assert suggested_limit({"effect": 0.2, "upper_limit": 1.2}) == 1.0
