"""The command ``cuecheck``."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit import __version__
from audit.config import Audit
from audit.config_file import SHIPPED, json_schema, load_config
from audit.errors import ConfigError, CuecheckError, RunError
from flows import progress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Audit image classifiers for data-set bias, and gate releases on the result.",
    epilog="Start with `cuecheck demo`. Exit codes of `gate`: 0 PASS, 1 FAIL, 2 bad input, "
    "3 internal error, 4 ERROR, 5 INCONCLUSIVE.",
)
screen = Console(highlight=False, markup=False)
errors = Console(stderr=True, highlight=False, markup=False)

BAD_INPUT = 2
INTERNAL_ERROR = 3
INTERRUPTED = 130
COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow", "ERROR": "red"}
COLOURS |= {"CLEARED": "green", "CONFIRMED": "red", "WAIVED": "yellow", "KNOWN": "yellow"}


class GateFile(StrEnum):
    """A ready file for a pipeline."""

    GITHUB = "github"
    GITLAB = "gitlab"
    SCRIPT = "script"

    @property
    def file(self) -> str:
        """Its name among those that are shipped."""
        return {"github": "github.yml", "gitlab": "gitlab.yml", "script": "pre-release.sh"}[self]


ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="YAML file, or the name of a shipped one.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Run folder. Default: `runs/<audit>/<time>-<digest>`.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. model.train.epochs=3."),
]
PageOption = Annotated[Path, typer.Option("--output", metavar="FILE", help="Page to write.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
KeyOption = Annotated[
    Path | None,
    typer.Option("--public-key", metavar="FILE", help="Whose signature there must be (PEM)."),
]
PrefectOption = Annotated[
    bool, typer.Option("--prefect/--no-prefect", help="Run through Prefect, or directly.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]


@app.command(epilog="Example: `cuecheck run configs/occupations.yaml --set execution.device=cpu`")
def run(
    config: ConfigArgument,
    out: OutOption = None,
    overrides: SetOption = None,
    prefect: PrefectOption = True,
    gate_exit: Annotated[
        bool, typer.Option("--gate", help="Exit with the code of the verdict, as `gate` does.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run an audit, or finish one that was interrupted; of a multi-label model one per label."""
    audits = _read_each(config, overrides)
    folders = []
    for audit in audits:
        own = out / audit.name if out and len(audits) > 1 else out
        folders.append(_execute(audit, own, prefect, quiet or as_json))
        _announce(folders[-1], as_json, quiet)
    if gate_exit:
        raise typer.Exit(_worst_exit([_trusted_verdict(folder) for folder in folders]))


@app.command()
def demo(
    rebalanced: Annotated[
        bool, typer.Option("--rebalanced", help="Train on balanced pictures: the cure.")
    ] = False,
    out: OutOption = None,
    overrides: SetOption = None,
    prefect: PrefectOption = True,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run the embedded doctor/nurse study: data, training, audit, report. Needs no download."""
    audit = _read(SHIPPED / ("demo-rebalanced.yaml" if rebalanced else "demo.yaml"), overrides)
    if not (quiet or as_json):
        screen.print(audit.description.strip() + "\n")
    folder = _execute(audit, out, prefect, quiet or as_json)
    _announce(folder, as_json, quiet)
    if not (quiet or as_json):
        screen.print(_moral(rebalanced, _trusted_verdict(folder).verdict))


@app.command(
    epilog="Example: `cuecheck gate runs/demo/20260101T000000-0a1b2c3d && ./release.sh`. "
    "A policy to start from: `cuecheck policy > policy.yaml`."
)
def gate(
    run: RunArgument,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="Judge again by this policy (YAML)."),
    ] = None,
    waivers: Annotated[
        Path | None,
        typer.Option("--waivers", metavar="FILE", help="Findings accepted for a time (YAML)."),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline", metavar="RUN", help="Only what is new or worse than in this run blocks."
        ),
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Check that the verdict follows from the tables.")
    ] = False,
    expect_model: Annotated[
        Path | None,
        typer.Option(
            "--expect-model", metavar="FILE", help="ERROR unless this file of weights was audited."
        ),
    ] = None,
    expect_data: Annotated[
        str | None,
        typer.Option(
            "--expect-data",
            metavar="HASH|FILE",
            help="ERROR unless the data has this SHA-256 (sha256.data), or this manifest.",
        ),
    ] = None,
    max_age: Annotated[
        int | None,
        typer.Option("--max-age", metavar="DAYS", min=0, help="ERROR if the run is older."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FOLDER", help="Write the judgement there: JSON, JUnit XML, SARIF."
        ),
    ] = None,
    step_summary: Annotated[
        bool,
        typer.Option("--step-summary", help="Append the summary to $GITHUB_STEP_SUMMARY."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Exit 0 PASS, 1 FAIL, 4 ERROR, 5 INCONCLUSIVE; 2 for a missing or altered run.

    Without options it obeys the stored verdict. With them the run is judged again, from its folder
    alone, which stays as it is.
    """
    from audit.release import Release
    from flows.gate import Request, judge_for_pipeline

    release = Release(expect_model, expect_data, max_age)
    request = Request(run, policy, waivers, baseline, recompute, release, output, step_summary)
    if request.obeys:
        verdict = _trusted_verdict(run)
        _tell(verdict, [], as_json)
        raise typer.Exit(verdict.exit_code)
    judgement = judge_for_pipeline(request)
    _tell(judgement.verdict, judgement.records(), as_json)
    raise typer.Exit(judgement.verdict.exit_code)


@app.command("policy", epilog="Example: `cuecheck policy > policy.yaml`")
def print_policy() -> None:
    """Print a policy to start from, its defaults explained."""
    typer.echo((SHIPPED / "gate" / "policy.yaml").read_text(encoding="utf-8"), nl=False)


@app.command(
    "gate-file", epilog="Example: `cuecheck gate-file github > .github/workflows/audit.yml`"
)
def print_gate_file(
    kind: Annotated[GateFile, typer.Argument(help="For which pipeline.")],
) -> None:
    """Print a file to start from: a GitHub workflow, a GitLab CI job or a pre-release script."""
    typer.echo((SHIPPED / "gate" / kind.file).read_text(encoding="utf-8"), nl=False)


@app.command()
def report(run: RunArgument) -> None:
    """Build report.html again from the run folder; needs neither model nor data."""
    from audit.runs.folder import Run
    from audit.runs.record import rebuilding_report
    from reports.build import build_report

    if not run.is_dir():
        raise RunError(f"{run}: no such run folder")
    with rebuilding_report(Run(run)):
        path = build_report(run)
    screen.print(str(path), soft_wrap=True)


@app.command(epilog="Example: `cuecheck verify runs/demo/RUN --public-key public.pem`")
def verify(
    run: RunArgument,
    public_key: KeyOption = None,
    whole_chain: Annotated[
        bool, typer.Option("--whole-chain", help="An earlier run that is not there is a fault.")
    ] = False,
) -> None:
    """Check record, signature and the chain of earlier runs. Exit 0 all right, 2 not.

    Without `--public-key` a signature is not looked at.
    """
    from audit.judgement import today
    from audit.runs.folder import Run
    from audit.runs.verify import verify_run

    found = verify_run(Run(run), today(), public_key=public_key, whole_chain=whole_chain)
    for kind, colour, sentences in (
        ("right", "green", found.right),
        ("note", "yellow", found.notes),
        ("wrong", "red", found.faults),
    ):
        for sentence in sentences:
            line = Text.assemble((f"{kind:<7}", colour), _plain(sentence))
            screen.print(line, soft_wrap=True)
    if found.faults:
        raise typer.Exit(BAD_INPUT)


@app.command(epilog="A key: `openssl genpkey -algorithm ed25519 -out private.pem`")
def sign(
    run: RunArgument,
    key: Annotated[
        Path, typer.Option("--key", metavar="FILE", help="Private Ed25519 key (PEM); only read.")
    ],
) -> None:
    """Sign the record of a finished run, as `record.sig` in its folder."""
    from audit.runs.folder import Run
    from audit.runs.signature import sign_run

    folder = Run(run)
    sign_run(folder, key)
    screen.print(_plain(f"{folder.signature}: written"), soft_wrap=True)


@app.command("record", epilog="Example: `cuecheck record runs/demo/RUN --output record.md`")
def write_record(
    run: RunArgument,
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="Markdown file to write.")
    ] = Path("audit-record.md"),
) -> None:
    """Write what was tested, with what result, for regulators: model card, AI Act, NIST AI RMF."""
    from reports.record import build_record

    screen.print(_plain(str(build_record(run, output))), soft_wrap=True)


@app.command(epilog="Example: `cuecheck compare runs/demo/LAST runs/demo/NEW --output what.html`")
def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="Run folder.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="Run folder.")],
    output: PageOption = Path("compare.html"),
) -> None:
    """Write a page that says what changed from one run to another; needs no model.

    Runs of two audits can be compared, as long as they tell the same classes apart.
    """
    from reports.compare import build_comparison

    screen.print(_plain(str(build_comparison(before, after, output))), soft_wrap=True)


@app.command(epilog="Example: `cuecheck index runs`")
def index(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder with runs, at any depth.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Page to write. Default: RUNS/index.html."),
    ] = None,
) -> None:
    """Write a page over all runs below a folder: verdicts, accuracy, trends, links to reports."""
    from reports.index import build_index

    screen.print(_plain(str(build_index(runs, output or runs / "index.html"))), soft_wrap=True)


@app.command(epilog="Example: `cuecheck region runs/demo/RUN --cue 2 --name tag --output tag`")
def region(
    run: RunArgument,
    cue: Annotated[int, typer.Option("--cue", help="Number of the unnamed cue in the report.")],
    name: Annotated[str, typer.Option("--name", help="Name of the new region.")],
    output: Annotated[Path, typer.Option("--output", help="Folder to write.")],
) -> None:
    """Name an unnamed cue: write it as a region, with an audit that tests it on fresh pictures."""
    from audit.runs.folder import Run
    from audit.steps import name_cue

    with progress.shown():
        shown_in = name_cue(Run(run), cue, name, output, progress.report)
    config = output / "audit.yaml"
    screen.print(
        _plain(
            f"{output}: written; {shown_in} pictures show '{name}', which is forbidden for the "
            f"cue's class. Next: look at its masks, then `cuecheck run {config}`"
        ),
        soft_wrap=True,
    )


@app.command()
def validate(
    config: ConfigArgument, overrides: SetOption = None, as_json: JsonOption = False
) -> None:
    """Check config, data, masks, model and layer on a few samples; print what the audit will do."""
    from audit.preview import preview

    for audit in _read_each(config, overrides):
        found = preview(audit).as_dict()
        if as_json:
            screen.print_json(json.dumps(found), ensure_ascii=True)
        else:
            _show_preview(found)


@app.command()
def init(
    folder: Annotated[str, typer.Argument(help="Folder with a manifest, or with class folders.")],
    out: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("audit.yaml"),
) -> None:
    """Write a commented starting configuration from a data folder."""
    from flows.starter import starting_config

    if out.exists():
        raise ConfigError(f"{out}: exists already; choose another --out")
    if "://" in folder:  # which a Path would mangle
        raise ConfigError(
            f"{folder.partition('://')[0]}://...: init reads folders of this machine; run it on a "
            "copy of the manifest, then set data.root to the URL"
        )
    start = starting_config(Path(folder), out.resolve().parent)
    out.write_text(start.text, encoding="utf-8")
    screen.print(f"{out}: written. Next:", soft_wrap=True)
    for place in start.open_places:
        screen.print(_plain(f"- fill in  {place}"), soft_wrap=True)
    screen.print("- say which regions there are, and their roles")
    screen.print(f"- cuecheck validate {shlex.quote(str(out))}", soft_wrap=True)


@app.command()
def schedule(
    config: ConfigArgument,
    cron: Annotated[str, typer.Option("--cron", help='When, e.g. "0 3 * * 1": Mondays at 3.')],
    overrides: SetOption = None,
) -> None:
    """Serve the audit on a schedule until stopped, on your Prefect API or a local server."""
    from flows.schedule import serve

    audit, *others = _read_each(config, overrides)
    if others:
        raise ConfigError(
            f"a schedule is for one label; name it, e.g. --set data.target={audit.data.target}"
        )
    serve(audit, cron)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _read(path: Path, overrides: list[str] | None) -> Audit:
    """A configuration by path, or a shipped one by name."""
    pairs = {}
    for item in overrides or []:
        key, separator, value = item.partition("=")
        if not separator:
            raise ConfigError(f"--set {item}: must be KEY=VALUE, e.g. seed=3")
        pairs[key.strip()] = value
    if not path.is_file():
        shipped = SHIPPED / f"{path.stem}.yaml"
        named = path.parent in (Path(), Path("configs")) and path.suffix in ("", ".yaml")
        if not named or not shipped.is_file():
            names = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml")))
            raise ConfigError(f"{path}: no such file, nor a shipped configuration ({names})")
        path = shipped
    return load_config(path, pairs)


def _read_each(path: Path, overrides: list[str] | None) -> list[Audit]:
    """The audits of a configuration: one, or one per label of a multi-label model."""
    from audit.labels import per_label

    return per_label(_read(path, overrides))


def _execute(audit: Audit, out: Path | None, prefect: bool, quiet: bool) -> Path:
    from audit.runs.folder import start_or_resume

    started = start_or_resume(audit, out)
    if not quiet:
        state = "finished already" if started.finished else "run folder"
        errors.print(f"{state}: {started.folder}", soft_wrap=True)
    try:
        with progress.shown(quiet):
            if prefect:
                _through_prefect(audit, started)
            else:
                from flows.direct import run_directly

                run_directly(started)
    except KeyboardInterrupt as error:
        errors.print("interrupted; the same command goes on where it stopped")
        raise typer.Exit(INTERRUPTED) from error
    return Path(started.folder)


def _through_prefect(audit: Audit, started: Any) -> None:
    from flows.audit import GATE_STATES, PREFECT_ERRORS, audit_flow

    try:
        state = audit_flow(audit, str(started.folder), return_state=True)
    except PREFECT_ERRORS as error:  # the audit's own are in the state
        raise RunError(
            f"Prefect cannot be reached ({error}); check PREFECT_API_URL, or use --no-prefect"
        ) from error
    if state.name in GATE_STATES.values():
        return
    failure = state.result(raise_on_failure=False)
    raise failure if isinstance(failure, Exception) else RunError(f"the flow ended as {state.name}")


def _trusted_verdict(folder: Path) -> Any:
    """The verdict of a run that is finished and unaltered; its waivers as they hold today."""
    from audit.judgement import obeyed_verdict, today
    from audit.runs.folder import Run

    return obeyed_verdict(Run(folder), today())


def _tell(verdict: Any, findings: list[dict[str, Any]], as_json: bool) -> None:
    """The verdict, its warnings, and which findings are accepted or changed."""
    if as_json:
        told = json.loads(verdict.to_json())
        told |= {"findings": findings} if findings else {}
        screen.print_json(json.dumps(told), ensure_ascii=True)
        return
    badge = Text(verdict.verdict, COLOURS[verdict.verdict])
    screen.print(badge.append("  ").append(_plain(verdict.reason)), soft_wrap=True)
    for finding in findings:
        if finding["change"] or finding["status"] == "WAIVED":
            what = " ".join(filter(None, (finding["status"], finding["change"])))
            line = Text(f"{what:<20}", COLOURS[finding["status"]])
            about = _plain(f"{_finding_name(finding)}: {finding['reason']}")
            screen.print(line.append(about), soft_wrap=True)
    for warning in verdict.warnings:
        screen.print(Text.assemble(("warning ", "yellow"), _plain(warning)), soft_wrap=True)


def _worst_exit(verdicts: list[Any]) -> int:
    """The exit code of several verdicts: of the first that is there, in the order of severity."""
    severity = ("ERROR", "FAIL", "INCONCLUSIVE", "PASS")
    worst = min(verdicts, key=lambda verdict: severity.index(verdict.verdict))
    return int(worst.exit_code)


def _announce(folder: Path, as_json: bool, quiet: bool) -> None:
    from audit.runs.files import read_json

    verdict = _trusted_verdict(folder)
    if as_json:
        summary = {**json.loads(verdict.to_json()), "run": str(folder)}
        summary["report"] = str(folder / "report.html")
        screen.print_json(json.dumps(summary), ensure_ascii=True)
        return
    if quiet:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("finding", "status", "effect", "interval", "clusters"):
        table.add_column(column)
    found = read_json(folder / "findings.json")["findings"]
    for finding in found:
        table.add_row(
            _plain(_finding_name(finding)),
            Text(finding["status"], style=COLOURS.get(finding["status"], "yellow")),
            _percent(finding["effect"]),
            _interval(finding["low"], finding["high"]),
            str(finding["clusters"]),
        )
    screen.print(table)
    badge = Text.assemble("\n", (verdict.verdict, f"bold {COLOURS[verdict.verdict]}"))
    screen.print(badge, _plain(verdict.reason))
    _tell_accuracy(folder)
    for finding in found:
        if finding["status"] in ("INCONCLUSIVE", "ERROR"):
            told = f"{_finding_name(finding)}: {finding['reason']}"
            screen.print(_plain(told), soft_wrap=True)
    for warning in verdict.warnings:
        screen.print(Text.assemble(("warning ", "yellow"), _plain(warning)), soft_wrap=True)
    screen.print(f"report: {folder / 'report.html'}", soft_wrap=True)
    screen.print(f"gate:   cuecheck gate {shlex.quote(str(folder))}", soft_wrap=True)


def _tell_accuracy(folder: Path) -> None:
    """Accuracy over all audited pictures, and in the worst cell that is large enough."""
    from audit.tables import EVIDENCE, read_table

    columns = ["measure", "target_class", "attribute", "subgroup"]
    columns += ["effect", "low", "high", "lower_limit"]
    rows = read_table(folder / "evidence.parquet", EVIDENCE, columns)
    everyone = (rows["measure"] == "accuracy") & (rows["target_class"] == "*")
    for _, row in rows[everyone & (rows["attribute"] == "*")].iterrows():
        interval = f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %"
        screen.print(f"accuracy: {100 * row['effect']:.0f} % ({interval})", soft_wrap=True)
    for _, row in rows[(rows["measure"] == "worst_group") & rows["effect"].notna()].iterrows():
        cell = f"{row['target_class']}, {row['attribute']} {row['subgroup']}"
        worst = f"{100 * row['effect']:.0f} % (at least {100 * row['lower_limit']:.0f} %)"
        screen.print(_plain(f"worst group: {worst}: {cell}"), soft_wrap=True)


def _finding_name(finding: dict[str, Any]) -> str:
    target = "all classes" if finding["target_class"] == "*" else finding["target_class"]
    return f"{finding['region']} / {target}"


def _plain(text: str) -> Text:
    """Text of the data, without control characters: a terminal would obey them."""
    from audit.gate.outputs import printable

    return Text(printable(text))


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{_percent(low)} to {_percent(high)}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.0f} %".replace("-0 %", "0 %")


def _moral(rebalanced: bool, verdict: str) -> str:
    if rebalanced and verdict == "PASS":
        return "\nAs expected: trained on balanced pictures, the model relies on no face or hair."
    if not rebalanced and verdict == "FAIL":
        return (
            "\nAs expected: most doctors in the training pictures are men and most nurses women, "
            "so the model\nlearned faces and hair. A release gate would stop here "
            "(`cuecheck gate` exits 1).\nNow try `cuecheck demo --rebalanced`."
        )
    return "\nThis is not the expected verdict of the demo; did you override its settings?"


def _show_preview(found: dict[str, Any]) -> None:
    for name, value in found["facts"].items():
        screen.print(Text.assemble((f"{name:<12}", "bold"), _plain(str(value))))
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("cell (audit part)")
    table.add_column("samples", justify="right")
    table.add_column("clusters", justify="right")
    for cell in found["cells"]:
        table.add_row(_plain(cell["cell"]), str(cell["samples"]), str(cell["clusters"]))
    screen.print(table)
    for warning in found["warnings"]:
        screen.print(Text.assemble(("warning ", "yellow"), _plain(warning)))
    screen.print(Text.assemble(("ok", "green"), " nothing stands in the way of `cuecheck run`"))


def main() -> None:
    """Entry point: expected errors are one line and exit 2, others exit 3."""
    started = time.monotonic()
    try:
        app()
    except (CuecheckError, OSError) as error:
        _debug()
        told = [_plain(line) for line in _in_words(error).split("\n")]
        errors.print(Text("error: ", "bold red").append(Text("\n").join(told)), soft_wrap=True)
        sys.exit(getattr(error, "exit_code", BAD_INPUT))
    except Exception as error:  # the last line of defence: a bug is reported, not dumped
        _debug()
        after = time.monotonic() - started
        told_bug = f"internal error after {after:.0f} s: {type(error).__name__}: {error} "
        errors.print(_plain(told_bug + "(set CUECHECK_DEBUG=1 for the traceback)"), soft_wrap=True)
        sys.exit(INTERNAL_ERROR)


def _debug() -> None:
    if os.environ.get("CUECHECK_DEBUG"):
        traceback.print_exc()


def _in_words(error: Exception) -> str:
    """The message; of an error of the system the file and what was wrong with it."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)
