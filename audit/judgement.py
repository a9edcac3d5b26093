"""From the tables of a run folder to its verdict: the first time, and again.

Needs neither model nor pictures nor the data set. Judging again never writes into the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from audit.checks import explainer_trusted
from audit.config import Audit, GatePolicy
from audit.config_file import literal
from audit.data.duplicates import duplicate_warnings
from audit.data_change import data_change
from audit.errors import CuecheckError, RunError, published
from audit.evidence import (
    ATTENTION_COLUMNS,
    INTERVENTIONS_COLUMNS,
    MAPS_COLUMNS,
    build_evidence,
)
from audit.evidence.association import build_association
from audit.evidence.inputs import Inputs, read_inputs
from audit.gate import (
    Finding,
    Verdict,
    decide,
    judge_findings,
    junit_xml,
    read_waivers,
    refused,
    sarif_json,
    summary_markdown,
    waive,
    with_origins,
)
from audit.gate.baseline import Side, ratchet
from audit.gate.signoff import SignOff, decide_signed
from audit.gate.waivers import Waiver, Waivers
from audit.parts import Parts
from audit.release import Release, check_release
from audit.runs.files import file_digest, read_json, write_json, write_text
from audit.runs.folder import Run
from audit.runs.record import NEEDED, check_record, is_recorded
from audit.signoff import read_signoff
from audit.tables import (
    ASSOCIATION,
    ATTENTION,
    CELLS,
    DUPLICATES,
    EVIDENCE,
    INTERVENTIONS,
    MAPS,
    PROPERTIES,
    SAMPLES,
    SCORECARD,
    Table,
    empty,
    read_table,
    write_table,
)

GRAD_CAM_OF_TRUE_CLASS = {"method": "grad-cam", "explained": "true"}  # the rest is for the eye

_MEASURED = tuple(f"{table.name}.parquet" for table in (SAMPLES, ATTENTION, INTERVENTIONS, MAPS))
_MAPS_HELD = 2**12  # a map and its masks may be large
_SAME = 1e-9  # processors round sums differently


@dataclass(frozen=True)
class Facts:
    """What findings are judged by.

    Attributes
    ----------
    evidence, association, cells
        Tables as in :mod:`audit.tables`.
    trusted
        Whether the maps earned trust on this model; None where that was not checked.
    warnings
        About the data, in words.
    """

    evidence: pd.DataFrame
    association: pd.DataFrame
    cells: pd.DataFrame
    trusted: bool | None
    warnings: list[str]

    def findings(self, config: Audit) -> list[Finding]:
        """The findings under a configuration, with where they come from."""
        found = judge_findings(self.evidence, config, self.trusted)
        return with_origins(found, self.association, self.cells, config)


@dataclass(frozen=True)
class Judgement:
    """What was decided, on what facts, under which configuration."""

    config: Audit
    facts: Facts
    findings: list[Finding]
    verdict: Verdict

    def write(self, folder: Path) -> None:
        """Write evidence, associations, findings, verdict, summary, JUnit XML and SARIF."""
        for table in (EVIDENCE, ASSOCIATION, CELLS):
            frame = getattr(self.facts, table.name)
            write_table(frame, table, folder / f"{table.name}.parquet")
        write_json(folder / "findings.json", {"findings": self.records()})
        write_text(folder / "verdict.json", self.verdict.to_json())
        write_text(folder / "summary.md", self.summary())
        told = (self.config.name, self.findings, self.verdict)
        write_text(folder / "junit.xml", junit_xml(*told, datetime.now(UTC)))
        write_text(folder / "findings.sarif", sarif_json(*told))

    def summary(self) -> str:
        """The summary, as Markdown."""
        return summary_markdown(self.config, self.findings, self.verdict)

    def records(self) -> list[dict[str, Any]]:
        """The findings as JSON-like objects."""
        return [asdict(finding) for finding in self.findings]


def today() -> date:
    """The day, in UTC: a waiver ends everywhere at once."""
    return datetime.now(UTC).date()


def measured_tables(run: Run) -> tuple[pd.DataFrame, Parts, pd.DataFrame]:
    """What the evidence is built from: samples, attention, interventions."""
    return (
        read_table(run.table("samples"), SAMPLES, without=("path", "reason")),
        Parts(run.table("attention"), ATTENTION_COLUMNS, GRAD_CAM_OF_TRUE_CLASS),
        read_table(run.table("interventions"), INTERVENTIONS, INTERVENTIONS_COLUMNS),
    )


def judge_run(run: Run, day: date) -> Judgement:
    """Judge a run for the first time; the waivers it names are copied into it."""
    config = run.unaltered_config()
    waivers: list[Waiver] = []
    if config.policy.waivers is not None:
        waivers = read_waivers(config.policy.waivers)
        # As resolved: what the environment says later must not change them.
        told = literal(Waivers(waivers=waivers).model_dump(mode="json"))
        write_text(run.waivers, yaml.safe_dump(told, allow_unicode=True, sort_keys=False))
    facts = _facts_anew(run, config)
    findings, warnings = waive(facts.findings(config), waivers, day)
    if config.policy.signoff:
        warnings = [*warnings, "A release needs a sign-off; until then the gate says ERROR."]
    return Judgement(config, facts, findings, decide(findings, [*facts.warnings, *warnings]))


def obeyed_verdict(run: Run, day: date) -> Verdict:
    """The verdict of a finished and unaltered run, with waivers and sign-off as they hold on a day.

    Raises
    ------
    RunError
        If the run is unfinished, altered or incomplete.
    """
    check_record(run)
    policy = run.config().policy
    if policy.waivers is None and not policy.signoff and not run.signoff.exists():
        return Verdict.read(run.verdict)
    return judge_again(run, day).verdict


def judge_again(
    run: Run,
    day: date,
    *,
    rules: GatePolicy | None = None,
    waivers: Path | None = None,
    baseline: Run | None = None,
    recompute: bool = False,
    release: Release | None = None,
) -> Judgement:
    """Judge a finished and unaltered run again, from its folder alone.

    Parameters
    ----------
    run
        The run.
    day
        On which waivers must hold.
    rules
        Policy instead of the run's own; its evidence is then computed anew from the tables. What it
        requires and the run did not test is an ERROR.
    waivers
        File of waivers instead of those of the policy.
    baseline
        Run whose confirmed findings are known; one that cannot be used makes the verdict ERROR.
    recompute
        Compute the evidence anew under the run's own policy first, and refuse a run whose stored
        evidence, findings or verdict are others.
    release
        What is about to be released; a run that audited something else, or is too old, or does not
        tell, makes the verdict ERROR.

    Raises
    ------
    RunError
        If the run is unfinished, altered or incomplete, or not what is computed anew.
    ConfigError
        If the file of waivers is none.
    """
    check_record(run)
    own = run.config()
    config = own if rules is None else _under(own, rules)
    if recompute:
        _refuse_what_does_not_follow(run, own)
    facts = _stored_facts(run) if rules is None else _facts_under(run, own, config)
    signoff = read_signoff(run)
    signed = _signed_waivers(signoff, config)
    accepted = _together(_waivers(run, rules, config, waivers), signed, day)
    findings, void = waive(facts.findings(config), accepted, day)
    warnings = [*facts.warnings, *void]
    if release is not None:
        try:
            check_release(run, release, day)
        except (CuecheckError, OSError) as error:
            why = f"The run does not stand for this release: {published(error, run.folder)}"
            return Judgement(config, facts, [], refused(why, warnings))
    if baseline is not None:
        try:
            findings, other_data = _against(baseline, run, findings, config)
        except (CuecheckError, OSError) as error:
            why = f"The baseline cannot be used: {published(error, run.folder, baseline.folder)}"
            return Judgement(config, facts, [], refused(why, warnings))
        then, name = Verdict.read(baseline.verdict).verdict, baseline.folder.resolve().name
        warnings.append(f"Compared with the baseline {name}, whose verdict is {then}.")
        warnings += other_data
    findings, verdict = decide_signed(findings, warnings, signoff, required=config.policy.signoff)
    return Judgement(config, facts, findings, verdict)


def _under(config: Audit, rules: GatePolicy) -> Audit:
    """An audit under another policy, which cannot do without the sign-off that its own wants.

    That it may require what no class forbids is judged later.
    """
    signoff = config.policy.signoff or rules.policy.signoff
    policy = rules.policy.model_copy(update={"signoff": signoff})
    return config.model_copy(update={"policy": policy, "statistics": rules.statistics})


def _stored_facts(run: Run) -> Facts:
    evidence = read_table(run.table("evidence"), EVIDENCE)
    association, cells = (_explaining(run, table) for table in (ASSOCIATION, CELLS))
    return Facts(evidence, association, cells, _trusted(run), _data_warnings(run))


def _explaining(run: Run, table: Table) -> pd.DataFrame:
    """A table that explains findings and decides none: empty where the record has none."""
    path = run.table(table.name)
    known = not run.finished or is_recorded(run, path.name)
    return read_table(path, table) if known and path.is_file() else empty(table)


def _facts_anew(run: Run, config: Audit) -> Facts:
    samples, attention, interventions = measured_tables(run)
    maps = Parts(run.table("maps"), MAPS_COLUMNS, {"explained": "true"}, rows=_MAPS_HELD)
    evidence = build_evidence(samples, attention, interventions, config, maps)
    properties = _explaining(run, PROPERTIES)
    association, cells = build_association(samples, properties, config)
    return Facts(evidence, association, cells, _trusted(run), _data_warnings(run))


def _facts_under(run: Run, own: Audit, config: Audit) -> Facts:
    """Facts under other rules than the run's own, from its tables."""
    check_record(run, needed=(*NEEDED, *_MEASURED))
    return _facts_anew(run, _tested(config, own))


def _trusted(run: Run) -> bool | None:
    return explainer_trusted(_explaining(run, SCORECARD))


def _data_warnings(run: Run) -> list[str]:
    return duplicate_warnings(_explaining(run, DUPLICATES))


def _tested(config: Audit, own: Audit) -> Audit:
    """An audit that requires only what the run tested; the rest stays without evidence."""
    asked, done = config.policy.required, own.policy.required
    both = [
        name
        for name in own.regions.names
        if (asked is None or name in asked) and (done is None or name in done)
    ]
    policy = config.policy.model_copy(update={"required": both})
    return config.model_copy(update={"policy": policy})


def _waivers(
    run: Run, rules: GatePolicy | None, config: Audit, given: Path | None
) -> Sequence[Waiver]:
    """Waivers as given, else those of the policy; of the run's own policy its sealed copy."""
    if given is None and config.policy.waivers is not None:
        given = run.waivers if rules is None else config.policy.waivers
        if rules is None:
            check_record(run, needed=(*NEEDED, run.waivers.name))
    return [] if given is None else read_waivers(given, sealed=given == run.waivers)


def _signed_waivers(signoff: SignOff | None, config: Audit) -> Sequence[Waiver]:
    """What a sign-off accepts; only where the policy, which is sealed, gives people that say."""
    return signoff.waivers if signoff is not None and config.policy.signoff else []


def _together(filed: Sequence[Waiver], signed: Sequence[Waiver], day: date) -> list[Waiver]:
    """One waiver a finding of the two sources: the signed one for as long as it lasts."""
    lasting = {waiver.fingerprint for waiver in signed if waiver.ends and waiver.ends >= day}
    kept = [waiver for waiver in filed if waiver.fingerprint not in lasting]
    named = {waiver.fingerprint for waiver in kept}
    return kept + [waiver for waiver in signed if waiver.fingerprint not in named]


def _against(
    baseline: Run, run: Run, findings: Sequence[Finding], config: Audit
) -> tuple[list[Finding], list[str]]:
    """The findings of a run against its baseline's, by the same limits; a warning of other data."""
    check_two_runs(baseline, run)
    own = baseline.config()
    if own.name != config.name:
        raise RunError(
            f"{baseline.folder}: is a run of the audit '{own.name}', not of '{config.name}'"
        )
    now, before = sides(baseline, run, findings, config)
    data = data_change(baseline, run, before.inputs, now.inputs)
    warnings = [
        f"The baseline audited other data: {len(data.unaltered):,} of {data.now:,} audited samples "
        "are in both as they were, so what is known, new or worsened may be of the data."
    ]
    found = ratchet(now, before, config.policy.worsened_effect)
    return found, [] if data.same else warnings


def stored_findings(run: Run) -> list[Finding]:
    """The findings of a run by its own limits, before waivers."""
    return _stored_facts(run).findings(run.config())


def check_two_runs(before: Run, now: Run) -> None:
    """Refuse two runs of which one is unfinished or altered, or which are one and the same.

    Raises
    ------
    RunError
        Naming the run and what is wrong with it.
    """
    check_record(now, needed=(*NEEDED, *_MEASURED))
    check_record(before, needed=(*NEEDED, *_MEASURED))
    if _same_run(before, now):
        raise RunError(f"{before.folder}: is the run itself, or a copy of it")


def sides(before: Run, now: Run, findings: Sequence[Finding], config: Audit) -> tuple[Side, Side]:
    """Now and before, the latter judged under the name and by the limits of the former.

    Parameters
    ----------
    before, now
        Finished and unaltered runs.
    findings, config
        Of the run now.
    """
    own = before.config()
    required, then = config.policy.required, own.policy.required
    # What only one requires counts too, or dropping a region would hide what the other confirms.
    both = None if required is None or then is None else sorted({*required, *then})
    policy = config.policy.model_copy(update={"required": both})
    rules = GatePolicy(policy=policy, statistics=config.statistics)
    judged = _under(own, rules).model_copy(update={"name": config.name})
    same = rules == GatePolicy(policy=own.policy, statistics=own.statistics)
    facts = _stored_facts(before) if same else _facts_under(before, own, judged)
    earlier = Side(facts.findings(judged), _inputs(before, judged))
    return Side(findings, _inputs(now, config)), earlier


def _same_run(one: Run, other: Run) -> bool:
    """Whether one is the other or a copy of it, be its report another."""
    same_identity = one.identity.is_file() and (
        other.identity.is_file() and file_digest(one.identity) == file_digest(other.identity)
    )
    return same_identity or file_digest(one.record) == file_digest(other.record)


def _inputs(run: Run, config: Audit) -> Inputs:
    return read_inputs(*measured_tables(run), config)


def _refuse_what_does_not_follow(run: Run, config: Audit) -> None:
    """Refuse a run whose evidence, findings or verdict are not those of its tables."""
    check_record(run, needed=(*NEEDED, *_MEASURED))
    facts, stored_facts = _facts_anew(run, config), _stored_facts(run)
    for table in (EVIDENCE, ASSOCIATION, CELLS):
        if not _equal(getattr(facts, table.name), getattr(stored_facts, table.name)):
            _refuse(run.table(table.name), "the tables it was built from")
    waived = {"WAIVED": "CONFIRMED"} if config.policy.waivers is not None else {}
    stored = read_json(run.findings, "findings")["findings"]
    found = [(f.fingerprint, f.status) for f in facts.findings(config)]
    try:
        told = [(f["fingerprint"], waived.get(f["status"], f["status"])) for f in stored]
        statuses = pd.Series([f["status"] for f in stored], dtype=object).value_counts().to_dict()
    except (TypeError, KeyError) as error:
        raise RunError(f"{run.findings}: not a list of findings; run the audit again") from error
    if told != found:
        _refuse(run.findings, "the evidence")
    counts = {k: v for k, v in Verdict.read(run.verdict).counts.items() if v}
    if counts != statuses:
        _refuse(run.verdict, "the findings")


def _refuse(path: Path, source: str) -> None:
    raise RunError(f"{path}: does not follow from {source}; run the audit again")


def _equal(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether two evidence tables say the same, row by row."""
    if len(first) != len(second):
        return False
    numbers = list(first.select_dtypes("number"))
    words = [name for name in first if name not in numbers]
    return bool(
        (first[words].astype(str) == second[words].astype(str)).all(axis=None)
        and np.allclose(first[numbers], second[numbers], rtol=_SAME, atol=_SAME, equal_nan=True)
    )
