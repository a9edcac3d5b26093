"""Two finished runs side by side: findings, accuracy, data, settings. Needs no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from audit.config import Audit, GatePolicy
from audit.data_change import DataChange, data_change
from audit.errors import RunError
from audit.evidence.change import AccuracyChange, accuracy_changes
from audit.evidence.inputs import Inputs
from audit.gate.comparison import Compared, compare_claims
from audit.gate.verdict import Verdict
from audit.judgement import check_two_runs, sides, stored_findings
from audit.runs.changes import differences
from audit.runs.files import digest_of, read_json
from audit.runs.folder import Run

Changed = tuple[str, Any, Any]  # key, before, now

_TIMES = ("started", "finished")
_NAMED = 3  # classes named in a message


@dataclass(frozen=True)
class Comparison:
    """What changed from one run to another.

    Attributes
    ----------
    before, now
        The runs.
    verdicts
        As sealed in the runs, waivers included, before and now.
    claims
        Every finding, before waivers, both judged by the limits of the run now.
    accuracy
        Overall first, then by class and subgroup.
    data
        What was audited.
    settings, provenance
        Keys of the configuration and of the provenance with other values.
    rejudged
        Whether the run before was judged by other limits than here.
    """

    before: Run
    now: Run
    verdicts: tuple[Verdict, Verdict]
    claims: list[Compared]
    accuracy: list[AccuracyChange]
    data: DataChange
    settings: list[Changed]
    provenance: list[Changed]
    rejudged: bool

    @property
    def seed(self) -> int:
        """Seed that belongs to these two runs in this order, wherever their folders are."""
        runs = (self.before, self.now)
        ids = [read_json(run.identity, "config_digest", "started") for run in runs]
        return int(digest_of(ids)[:8], 16)


def compare_runs(before: Run, now: Run) -> Comparison:
    """Compare two finished runs; those of two audits are compared claim by claim too.

    A run of another audit (another name) is no obstacle, since a cure is often an audit of its own;
    other classes are: a margin is held against the other classes, so the claims are not the same.

    Raises
    ------
    RunError
        If one is unfinished, altered or incomplete, they are the same, or their classes differ.
    """
    check_two_runs(before, now)
    config, own = now.config(), before.config()
    after, earlier = sides(before, now, stored_findings(now), config)
    _refuse_other_classes(before, earlier.inputs, after.inputs)
    return Comparison(
        before=before,
        now=now,
        verdicts=(Verdict.read(before.verdict), Verdict.read(now.verdict)),
        claims=compare_claims(after, earlier, config.policy.worsened_effect),
        accuracy=accuracy_changes(after.inputs, earlier.inputs),
        data=data_change(before, now, earlier.inputs, after.inputs),
        settings=differences(*(_settings(one) for one in (own, config))),
        provenance=differences(*(_provenance(run) for run in (before, now))),
        rejudged=_rules(own) != _rules(config),
    )


def _refuse_other_classes(before: Run, earlier: Inputs, after: Inputs) -> None:
    odd = sorted(set(earlier.classes) ^ set(after.classes))
    if odd:
        more = f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else ""
        raise RunError(
            f"{before.folder}: its classes are not those of the other run "
            f"({', '.join(odd[:_NAMED])}{more}); compare runs that tell the same classes apart"
        )


def _settings(config: Audit) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude={"description": True, "output": True})


def _rules(config: Audit) -> GatePolicy:
    policy = config.policy.model_copy(update={"waivers": None})
    return GatePolicy(policy=policy, statistics=config.statistics)


def _provenance(run: Run) -> dict[str, Any]:
    facts = read_json(run.provenance) if run.provenance.is_file() else {}
    return {key: value for key, value in facts.items() if key not in _TIMES}
