"""Every row of the decision table, on evidence written by hand, then on planted data."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from audit.evidence.build import build_evidence
from audit.evidence.intervals import paired_excess
from audit.evidence.signflip import sign_flip_p
from audit.gate import Finding, decide, judge_findings
from audit.tables import ALL, ATTENTION, EVIDENCE, empty, to_arrow
from tests.evidence import planted

KEEP = ("keep:blur", "keep:local-mean")


def act(name: str, **changes: Any) -> dict[str, Any]:
    """One required act of hair x nurse that clearly shows reliance."""
    record = {
        "measure": "sufficiency_kappa" if name in KEEP else "excess_flips",
        "region": "hair", "role": "forbidden", "target_class": "nurse",
        "attribute": ALL, "subgroup": ALL, "act": name, "required": True,
        "n": 200, "clusters": 200, "excluded": 3, "undrawn": 0,
        "effect": 0.3, "low": 0.22, "high": 0.38, "lower_limit": 0.24, "upper_limit": 0.36,
        "margin_effect": 0.5, "p": 0.0002, "p_adjusted": 0.002,
        "detectable": 0.1,
    }  # fmt: skip
    return record | changes


CLEAR: dict[str, Any] = {
    "effect": 0.01, "low": -0.03, "high": 0.05, "lower_limit": -0.02, "upper_limit": 0.04,
    "margin_effect": 0.0, "p": 0.5, "p_adjusted": 1.0,
}  # fmt: skip
OPEN: dict[str, Any] = CLEAR | {"effect": 0.06, "low": -0.01, "high": 0.13, "upper_limit": 0.12}
NOT_DONE: dict[str, Any] = {"n": 0, "clusters": 0} | dict.fromkeys(
    ("effect", "low", "high", "lower_limit", "upper_limit", "margin_effect", "p", "p_adjusted",
     "detectable"), math.nan,
)  # fmt: skip


def table(*records: dict[str, Any]) -> pd.DataFrame:
    frame: pd.DataFrame = to_arrow(pd.DataFrame(list(records)), EVIDENCE).to_pandas()
    return frame


def judged(*records: dict[str, Any], **policy: Any) -> Finding:
    config = planted.config(policy={"required": ["hair"], **policy}, data={"classes": ["nurse"]})
    (finding,) = judge_findings(table(*records), config)
    return finding


def acts(changes: dict[str, Any] | None = None, **only: dict[str, Any]) -> list[dict[str, Any]]:
    """Blur, local mean and swap, all changed alike, then one by one."""
    short = {"blur": "remove:blur", "mean": "remove:local-mean", "swap": "swap"}
    return [act(name, **((changes or {}) | only.get(key, {}))) for key, name in short.items()]


@pytest.mark.parametrize(
    ("records", "status"),
    [
        pytest.param(acts(blur={"effect": math.nan}), "ERROR", id="no effect"),
        pytest.param(acts(CLEAR, mean={"upper_limit": math.nan}), "ERROR", id="no limit"),
        pytest.param(acts(blur={"low": -math.inf}), "ERROR", id="not finite"),
        pytest.param(acts(swap={"margin_effect": math.nan}), "ERROR", id="no margin"),
        pytest.param(acts(mean={"p": math.nan}), "ERROR", id="no p"),
        pytest.param(acts(mean={"p_adjusted": math.nan}), "ERROR", id="no adjusted p"),
        pytest.param(acts()[:2], "ERROR", id="no row for the swap"),
        pytest.param(acts()[1:], "ERROR", id="no row for a fill"),
        pytest.param(acts(swap=NOT_DONE), "ERROR", id="no donor for any sample"),
        pytest.param(acts(CLEAR, swap=NOT_DONE), "ERROR", id="cleared but for the swap"),
        pytest.param(acts(CLEAR, swap={"clusters": 0}), "ERROR", id="numbers from nothing"),
        pytest.param(acts(CLEAR | {"clusters": 5, "p": math.nan}), "ERROR", id="error first"),
        pytest.param(acts(NOT_DONE), "INCONCLUSIVE", id="region in no picture"),
        pytest.param(acts({"clusters": 29}), "INCONCLUSIVE", id="small, reliant"),
        pytest.param(acts(CLEAR | {"clusters": 29}), "INCONCLUSIVE", id="small, clear"),
        pytest.param(acts(swap={"clusters": 29}), "INCONCLUSIVE", id="one act small"),
        pytest.param(acts({"clusters": 30}), "CONFIRMED", id="just large enough"),
        pytest.param(acts(), "CONFIRMED", id="all acts"),
        pytest.param(acts(blur={"lower_limit": 0.04}), "CONFIRMED", id="by the swap"),
        pytest.param(acts(swap={"lower_limit": 0.04}), "CONFIRMED", id="by the fills"),
        pytest.param(acts({"lower_limit": 0.04}), "INCONCLUSIVE", id="by neither"),
        pytest.param(acts({"lower_limit": 0.05}), "INCONCLUSIVE", id="limit is not above"),
        pytest.param(
            acts(blur={"lower_limit": 0.04}, swap={"lower_limit": 0.04}),
            "INCONCLUSIVE",
            id="weakest fill and the swap fall short",
        ),
        pytest.param(acts(swap={"effect": -0.01}), "INCONCLUSIVE", id="the swap disagrees"),
        pytest.param(acts(blur={"effect": -0.2}), "INCONCLUSIVE", id="a fill disagrees"),
        pytest.param(acts(blur={"effect": 0.0}), "INCONCLUSIVE", id="no effect is no sign"),
        pytest.param(acts(mean={"p_adjusted": 0.05}), "INCONCLUSIVE", id="p of the weakest act"),
        pytest.param(acts(mean={"p": 0.04, "p_adjusted": 0.4}), "INCONCLUSIVE", id="p is adjusted"),
        pytest.param(
            acts(OPEN | {"lower_limit": 0.051, "upper_limit": 0.069, "p_adjusted": 0.01}),
            "CONFIRMED",
            id="confirmed comes before cleared",
        ),
        pytest.param(acts(CLEAR), "CLEARED", id="clear"),
        pytest.param(acts(CLEAR | {"excluded": 50}), "CLEARED", id="just enough tested"),
        pytest.param(acts(CLEAR, swap={"excluded": 51}), "INCONCLUSIVE", id="a selected part"),
        pytest.param(acts({"excluded": 900}), "CONFIRMED", id="a selected part can convict"),
        pytest.param(acts(CLEAR, swap={"upper_limit": 0.1}), "INCONCLUSIVE", id="limit not below"),
        pytest.param(acts(CLEAR, mean=OPEN), "INCONCLUSIVE", id="one fill open"),
        pytest.param(acts(CLEAR | {"effect": -0.2, "upper_limit": -0.1}), "CLEARED", id="negative"),
        pytest.param(acts(CLEAR, swap={"effect": -0.01}), "CLEARED", id="signs may differ"),
        pytest.param(acts(CLEAR | {"p_adjusted": 0.001}), "CLEARED", id="margins alone"),
        pytest.param(acts(OPEN), "INCONCLUSIVE", id="open"),
        pytest.param([act(name) for name in KEEP], "CONFIRMED", id="sufficiency"),
        pytest.param(
            [act(name, margin_effect=math.nan) for name in KEEP],
            "CONFIRMED",
            id="sufficiency has no margin",
        ),
        pytest.param(
            [act(name, lower_limit=0.09) for name in KEEP], "INCONCLUSIVE", id="its own fail limit"
        ),
        pytest.param(
            [act(name, lower_limit=0.02, upper_limit=0.19) for name in KEEP],
            "CLEARED",
            id="its own pass limit",
        ),
        pytest.param([act(KEEP[0])], "ERROR", id="sufficiency lacks a fill"),
    ],
)  # fmt: skip
def test_decision_table(records: list[dict[str, Any]], status: str) -> None:
    assert judged(*records).status == status


def test_limits_are_the_policy_s() -> None:
    assert judged(*acts(), fail_effect=0.25, pass_effect=0.3).status == "INCONCLUSIVE"
    assert judged(*acts(), fail_effect=0.25, pass_effect=0.4).status == "CLEARED"
    assert judged(*acts(), alpha=0.001).status == "INCONCLUSIVE"
    assert judged(*acts(), min_clusters=201).status == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("records", "deciding"),
    [
        (acts(mean={"lower_limit": 0.2}), "remove:local-mean"),
        (acts(blur={"lower_limit": 0.0}), "swap"),
        (acts(CLEAR, swap={"upper_limit": 0.09}), "swap"),
        (acts(OPEN, blur={"upper_limit": 0.2}), "remove:blur"),
        (acts(blur={"lower_limit": 0.04}, swap={"lower_limit": 0.03}), "remove:blur"),
        (acts(mean={"n": 40, "clusters": 20}), "remove:local-mean"),
    ],
)
def test_the_numbers_are_those_of_the_deciding_act(
    records: list[dict[str, Any]], deciding: str
) -> None:
    finding = judged(*records)
    (record,) = (record for record in records if record["act"] == deciding)
    for name in ("effect", "low", "high", "lower_limit", "upper_limit"):
        assert getattr(finding, name) == record[name]
    assert finding.p_adjusted == max(record["p_adjusted"] for record in records)
    assert finding.clusters == min(record["clusters"] for record in records)
    assert [act.act for act in finding.acts] == [record["act"] for record in records]


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        (
            acts(),
            "Predictions of 'nurse' rest on hair: removing it (blur) changes 30 % more answers "
            "than removing an equal area elsewhere (95 % limits 22 % to 38 %).",
        ),
        (
            acts(CLEAR, swap={"upper_limit": 0.05}),
            "Predictions of 'nurse' do not rest on hair: at worst, taking it from another subgroup "
            "changes 1 % more answers than taking it from the same (95 % limits -3 % to 5 %), so "
            "10 % or more is ruled out.",
        ),
        (
            acts({"clusters": 12}),
            "Too few samples to tell whether predictions of 'nurse' rest on hair: hair could be "
            "tested on 12 independent samples (remove:blur; 3 samples left out), 30 are needed.",
        ),
        (
            acts(OPEN),
            "Not decided whether predictions of 'nurse' rest on hair: taking it from another "
            "subgroup changes 6 % more answers than taking it from the same (95 % limits -1 % to "
            "13 %); about 1,029 independent samples would decide, if the effects stay.",
        ),
        (
            acts(CLEAR, swap={"n": 40, "excluded": 160}),
            "Not decided whether predictions of 'nurse' rest on hair: it was ruled out on 40 "
            "pictures, but 160 more that have it could not be tested (swap).",
        ),
        (
            acts(swap=NOT_DONE),
            "Cannot tell whether predictions of 'nurse' rest on hair: a number is missing or not "
            "finite for swap.",
        ),
        (
            acts()[:2],
            "Cannot tell whether predictions of 'nurse' rest on hair: the evidence lacks swap.",
        ),
        (
            [act(name, target_class=ALL) for name in KEEP],
            "Predictions rest on hair: with what the core says (blur) taken from other pictures, "
            "30 % of the answers are kept beyond chance (95 % limits 22 % to 38 %).",
        ),
    ],
)
def test_reasons_are_sentences_with_the_numbers(records: list[dict[str, Any]], reason: str) -> None:
    assert judged(*records).reason == reason


def test_open_findings_say_what_would_decide() -> None:
    z, power = norm.ppf(0.95), norm.ppf(0.8)
    # the upper limit is 6 points above the effect of 6 %, and 4 points are left below 10 %
    to_clear = 200 * (0.06 * (1 + power / z) / 0.04) ** 2
    assert judged(*acts(OPEN)).clusters_needed == math.ceil(to_clear)
    assert judged(*acts(OPEN, swap={"effect": -0.02})).clusters_needed == math.ceil(to_clear)
    assert judged(*acts(NOT_DONE)).clusters_needed == 30
    assert judged(*acts()).clusters_needed is None


def test_a_class_that_is_never_predicted_does_not_ask_for_more_pictures() -> None:
    finding = judged(*acts(NOT_DONE | {"excluded": 0}))
    assert (finding.status, finding.clusters_needed) == ("INCONCLUSIVE", None)
    assert "no picture that shows it was predicted so" in finding.reason


def test_no_number_decides_acts_that_differ_for_good() -> None:
    # one fill clearly below 5 %, the others far above 10 %
    finding = judged(*acts(mean=CLEAR | {"p": 0.0002, "p_adjusted": 0.002}, swap=OPEN))
    assert finding.clusters_needed is None
    assert "more samples would not settle it" in finding.reason
    opposed = judged(*acts(mean=CLEAR | {"effect": -0.1}))
    assert opposed.clusters_needed is None


def test_a_p_that_falls_short_needs_more_samples_too() -> None:
    z, power = norm.ppf(0.95), norm.ppf(0.8)
    finding = judged(*acts({"p": 0.02, "p_adjusted": 0.2}))
    wanted, now = norm.isf(0.05 * 0.02 / 0.2), norm.isf(0.02)
    assert finding.clusters_needed == math.ceil(200 * ((wanted + power) / now) ** 2)
    by_limit = judged(*acts({"lower_limit": 0.04}))
    assert by_limit.clusters_needed == math.ceil(200 * (0.26 * (1 + power / z) / 0.25) ** 2)


def flipping(first: np.ndarray, second: np.ndarray) -> list[dict[str, Any]]:
    """Acts alike, in which these answers changed by the act and by the placebo."""
    one_each = np.arange(first.size)
    p = sign_flip_p(first - second, one_each, 999, np.random.default_rng(0))
    numbers = vars(paired_excess(first, second, one_each, 0.95))
    size = {"n": first.size, "clusters": first.size}
    return acts({**numbers, **size, "margin_effect": numbers["effect"], "p": p, "p_adjusted": p})


@pytest.mark.parametrize("truth", [1 / 30, 0.1])
def test_at_the_printed_number_four_of_five_audits_decide(truth: float) -> None:
    first, second = (np.arange(60) < round(60 * rate) for rate in (0.05 + truth, 0.05))
    pilot = judged(*flipping(first.astype(float), second[::-1].astype(float)))
    assert pilot.status == "INCONCLUSIVE"
    assert pilot.clusters_needed is not None
    rng = np.random.default_rng(0)
    decided = [
        judged(*flipping(*(rng.random((2, int(pilot.clusters_needed))) < rates).astype(float)))
        for rates in [np.array([[0.05 + truth], [0.05]])] * 100
    ]
    rate = np.mean([finding.status != "INCONCLUSIVE" for finding in decided])
    assert 0.8 - 0.12 < rate < 0.8 + 0.12  # three standard errors


def test_the_worst_subgroup_is_large_enough_and_of_the_deciding_act() -> None:
    part = {"required": False, "attribute": "gender", "p_adjusted": math.nan}
    finding = judged(
        *acts(),
        act("remove:blur", **part, subgroup="man", effect=0.2),
        act("remove:blur", **part, subgroup="woman", effect=0.4),
        act("remove:blur", **part, subgroup="unknown", effect=0.9, clusters=5),
        act("swap", **part, subgroup="man", effect=0.8),
    )
    assert finding.worst_subgroup is not None
    assert asdict(finding.worst_subgroup) == {
        "attribute": "gender", "subgroup": "woman", "effect": 0.4,
    }  # fmt: skip


def test_what_is_required_but_not_in_the_evidence_is_an_error() -> None:
    config = planted.config(data={"classes": ["doctor", "nurse"]})
    findings = judge_findings(table(*acts()), config)
    statuses = {(finding.region, finding.target_class): finding.status for finding in findings}
    assert statuses == {
        ("hair", "nurse"): "CONFIRMED",
        ("hair", "doctor"): "ERROR",
        ("face", "nurse"): "ERROR",
        ("face", "doctor"): "ERROR",
    }
    accuracy = act("", measure="accuracy", region=ALL, required=False, target_class="doctor")
    without = planted.config(policy={"required": ["hair"]})
    known = judge_findings(table(*acts(), accuracy), without)  # the accuracy names the class
    assert {(f.target_class, f.status) for f in known} == {
        ("nurse", "CONFIRMED"),
        ("doctor", "ERROR"),
    }
    nothing = judge_findings(empty(EVIDENCE), planted.config())
    assert [(f.region, f.status) for f in nothing] == [("face", "ERROR"), ("hair", "ERROR")]


def test_a_row_that_is_not_required_is_not_judged() -> None:
    config = planted.config(policy={"required": []})
    assert judge_findings(table(*acts({"required": False})), config) == []


def test_fingerprints_name_the_claim_not_the_numbers() -> None:
    assert judged(*acts()).fingerprint == judged(*acts(OPEN)).fingerprint
    prints = {
        judged(*acts()).fingerprint,
        judged(*(act(name) for name in KEEP)).fingerprint,
        *(f.fingerprint for f in judge_findings(empty(EVIDENCE), planted.config())),
    }
    assert len(prints) == 4


def test_findings_are_json_without_nan() -> None:
    text = json.dumps(asdict(judged(*acts(swap=NOT_DONE))), allow_nan=False)
    assert json.loads(text)["acts"][2]["effect"] is None


@pytest.mark.parametrize("number", list(CLEAR))
@pytest.mark.parametrize("base", [CLEAR, {}], ids=["clear", "reliant"])
@pytest.mark.parametrize("broken", ["blur", "swap"])
def test_any_missing_number_of_any_act_is_an_error(
    base: dict[str, Any], broken: str, number: str
) -> None:
    assert judged(*acts(base, **{broken: {number: math.nan}})).status == "ERROR"


@pytest.mark.parametrize(
    ("face", "hair", "n", "verdict"),
    [
        (0.05, 0.40, 240, "FAIL"),
        (0.05, 0.05, 800, "PASS"),
        (0.05, 0.16, 100, "INCONCLUSIVE"),
        (0.05, 0.40, 40, "INCONCLUSIVE"),
    ],
)
def test_planted_audits_end_to_end(face: float, hair: float, n: int, verdict: str) -> None:
    samples = planted.samples(n)
    trials = pd.concat(
        [
            planted.removal(samples, "face", flips=face),
            planted.removal(samples, "hair", flips=hair, seed=9),
        ]
    )
    config = planted.config()
    evidence = build_evidence(samples, empty(ATTENTION), trials, config)
    findings = judge_findings(evidence, config)
    assert len(findings) == 4
    assert decide(findings).verdict == verdict
    if verdict == "FAIL":
        assert {f.region for f in findings if f.status == "CONFIRMED"} == {"hair"}


def test_planted_sufficiency_end_to_end() -> None:
    config = planted.config(
        regions={"roles": {"core": ["tools"], "forbidden": ["rest"]}},
        interventions={"swap": None},
    )
    samples = planted.samples(300, cluster_size=2)
    verdicts = []
    for rest in (0.9, 0.0):
        trials = planted.sufficiency(samples, "rest", rest=rest)
        evidence = build_evidence(samples, empty(ATTENTION), trials, config)
        (finding,) = judge_findings(evidence, config)
        assert (finding.test, finding.target_class) == ("sufficiency", ALL)
        verdicts.append(decide([finding]).verdict)
    assert verdicts == ["FAIL", "PASS"]


def look(**changes: Any) -> dict[str, Any]:
    """A row of the attention screen on hair x nurse that nominates."""
    record = act("explain:grad-cam", measure="alignment", required=False, margin_effect=math.nan)
    return record | {"p": 0.001, "p_adjusted": 0.01, "excluded": 3} | changes


SILENT: dict[str, Any] = {"p": 0.4, "p_adjusted": 0.6}
APART: dict[str, Any] = {"measure": "disparity", "attribute": "gender", "subgroup": "woman"}


@pytest.mark.parametrize(
    ("records", "attention"),
    [
        pytest.param([], "unmeasurable", id="no map"),
        pytest.param([look()], "nominated", id="aligned"),
        pytest.param([look(**SILENT)], "silent", id="not aligned"),
        pytest.param([look(p_adjusted=0.05)], "silent", id="q is not below"),
        pytest.param([look(**SILENT), look(**APART)], "nominated", id="apart"),
        pytest.param([look(**SILENT), look(**APART, p_adjusted=math.nan)], "silent", id="few"),
        pytest.param([look(excluded=201)], "unmeasurable", id="mostly dead or small"),
        pytest.param([look(p_adjusted=math.nan)], "unmeasurable", id="too few clusters"),
        pytest.param([look(excluded=201), look(**APART)], "unmeasurable", id="of what is left"),
        pytest.param([look(region="face")], "unmeasurable", id="another region"),
        pytest.param([look(target_class="doctor")], "unmeasurable", id="another class"),
    ],
)
@pytest.mark.parametrize("changes", [{}, CLEAR, OPEN])
def test_attention_informs_and_changes_no_status(
    records: list[dict[str, Any]], attention: str, changes: dict[str, Any]
) -> None:
    config = planted.config(policy={"required": ["hair"]}, data={"classes": ["nurse"]})
    evidence = table(*acts(changes), *records)
    (finding,) = judge_findings(evidence, config)
    assert finding.attention == attention
    (distrusted,) = judge_findings(evidence, config, trusted=False)
    assert distrusted.attention == "untrusted"
    (trusted,) = judge_findings(evidence, config, trusted=True)
    assert trusted == finding
    alone = judged(*acts(changes))
    assert (finding.status, finding.reason) == (alone.status, alone.reason)


def test_the_reading_of_status_and_attention() -> None:
    config = planted.config(policy={"required": ["hair"]}, data={"classes": ["nurse"]})

    def reading(changes: dict[str, Any], *records: dict[str, Any]) -> str:
        (finding,) = judge_findings(table(*acts(changes), *records), config)
        return finding.reading

    assert reading({}, look(**SILENT)).startswith("hidden cue")
    assert reading(CLEAR, look()) == "looked at, not relied on"
    assert reading({}, look()) == reading(CLEAR, look(**SILENT)) == reading(OPEN, look()) == ""


def test_all_classes_are_nominated_by_one() -> None:
    config = planted.config(policy={"required": ["hair"]}, data={"classes": ["nurse", "doctor"]})
    everyone = [act(name, target_class=ALL) for name in KEEP]
    looks = [look(**SILENT), look(target_class="doctor")]
    (finding,) = judge_findings(table(*everyone, *looks), config)
    assert finding.attention == "nominated"
