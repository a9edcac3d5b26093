"""Run audits, and tell how they ended."""

from __future__ import annotations

import json
import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from audit.config import Audit
from audit.config_file import SHIPPED
from audit.errors import ConfigError, RunError
from flows import progress
from flows.commands.app import app
from flows.commands.options import (
    ConfigArgument,
    JsonOption,
    OutOption,
    PrefectOption,
    QuietOption,
    SetOption,
    VerboseOption,
    read_config,
    read_each,
    trusted_verdict,
)
from flows.commands.terminal import (
    COLOURS,
    errors,
    finding_name,
    interruptible,
    interval,
    percent,
    plain,
    screen,
)


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
    verbose: VerboseOption = False,
) -> None:
    """Run an audit, or finish one that was interrupted; of a multi-label model one per label."""
    audits = read_each(config, overrides)
    folders = []
    for audit in audits:
        own = out / audit.name if out and len(audits) > 1 else out
        folders.append(_execute(audit, own, prefect, quiet or as_json, verbose))
        _announce(folders[-1], as_json, quiet)
    if gate_exit:
        raise typer.Exit(_worst_exit([trusted_verdict(folder) for folder in folders]))


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
    verbose: VerboseOption = False,
) -> None:
    """Run the embedded doctor/nurse study: data, training, audit, report. Needs no download."""
    audit = read_config(
        SHIPPED / ("demo-rebalanced.yaml" if rebalanced else "demo.yaml"), overrides
    )
    if not (quiet or as_json):
        screen.print(audit.description.strip() + "\n")
    folder = _execute(audit, out, prefect, quiet or as_json, verbose)
    _announce(folder, as_json, quiet)
    if not (quiet or as_json):
        screen.print(_moral(rebalanced, trusted_verdict(folder).verdict))


def _execute(audit: Audit, out: Path | None, prefect: bool, quiet: bool, verbose: bool) -> Path:
    from audit.runs.folder import start_or_resume

    if not prefect and audit.execution.runner != "local":
        raise ConfigError(
            f"execution.runner: {audit.execution.runner} works through Prefect alone; leave out "
            "--no-prefect, or add --set execution.runner=local"
        )
    started = start_or_resume(audit, out)
    if not quiet:
        errors.print(_found(started, audit), soft_wrap=True)
    if verbose:
        from flows.logs import be_verbose

        be_verbose()
    with interruptible(), progress.shown(quiet or verbose):
        if prefect:
            _through_prefect(audit, started)
        else:
            from flows.direct import run_directly

            run_directly(started)
    return Path(started.folder)


def _found(run: Any, audit: Audit) -> str:
    """What a start finds: a finished run, one that goes on, or a new one."""
    from audit.runs.status import progress_of

    if run.finished:
        return f"finished already: {run.folder}"
    there = progress_of(run, audit)
    if not there.begun:
        return f"run folder: {run.folder}"
    shards = f" ({there.shards_done} of {there.shards} shards are there)" if there.shards else ""
    return f"resumed at '{there.stage}'{shards}: {run.folder}"


def _through_prefect(audit: Audit, started: Any) -> None:
    from flows.audit import GATE_STATES, PREFECT_ERRORS, audit_flow
    from flows.server import prefect_api
    from flows.settings import check_home

    shared = audit.execution.runner in ("dask", "ray")
    try:
        with prefect_api() if shared else nullcontext():
            state = audit_flow(audit, str(started.folder), return_state=True)
    except PREFECT_ERRORS as error:  # the audit's own are in the state
        check_home()
        instead = ", or use --no-prefect" if audit.execution.runner == "local" else ""
        raise RunError(
            f"Prefect cannot be reached ({error}); check PREFECT_API_URL{instead}"
        ) from error
    if state.name in GATE_STATES.values():
        return
    failure = state.result(raise_on_failure=False)
    raise failure if isinstance(failure, Exception) else RunError(f"the flow ended as {state.name}")


def _worst_exit(verdicts: list[Any]) -> int:
    """The exit code of several verdicts: of the first that is there, in the order of severity."""
    severity = ("ERROR", "FAIL", "INCONCLUSIVE", "PASS")
    worst = min(verdicts, key=lambda verdict: severity.index(verdict.verdict))
    return int(worst.exit_code)


def _announce(folder: Path, as_json: bool, quiet: bool) -> None:
    from audit.runs.files import read_json

    verdict = trusted_verdict(folder)
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
            plain(finding_name(finding)),
            Text(finding["status"], style=COLOURS.get(finding["status"], "yellow")),
            percent(finding["effect"]),
            interval(finding["low"], finding["high"]),
            str(finding["clusters"]),
        )
    screen.print(table)
    badge = Text.assemble("\n", (verdict.verdict, f"bold {COLOURS[verdict.verdict]}"))
    screen.print(badge, plain(verdict.reason))
    _tell_accuracy(folder)
    for finding in found:
        if finding["status"] in ("INCONCLUSIVE", "ERROR"):
            told = f"{finding_name(finding)}: {finding['reason']}"
            screen.print(plain(told), soft_wrap=True)
    for warning in verdict.warnings:
        screen.print(Text.assemble(("warning ", "yellow"), plain(warning)), soft_wrap=True)
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
        screen.print(plain(f"worst group: {worst}: {cell}"), soft_wrap=True)


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
