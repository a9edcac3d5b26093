"""Run folders made up for the report's tests: small, quick, with or without a finding."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from audit import tables

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "\"quoted\" 'twice' & <b>bold</b>",
    "طبيب الأسنان ⚕️ 👩🏽‍⚕️",
    "x" * 500,
]
REGIONS = ("face", "hair", "clothing", "tools", "background")
SIZE = 64
GRID = 8
BOXES = {  # top, bottom, left, right
    "hair": (6, 20, 18, 46),
    "face": (20, 34, 22, 42),
    "clothing": (34, 62, 12, 52),
    "tools": (42, 56, 24, 40),
}


def make_run(
    folder: Path,
    verdict: str = "FAIL",
    *,
    labels: tuple[str, ...] = ("doctor", "nurse"),
    attribute: str = "gender",
    samples: int = 200,
    pictures: int = 10,
) -> Path:
    """A run folder whose model relies on hair (FAIL) or on nothing forbidden (PASS)."""
    rng = np.random.default_rng(7)
    (folder / "pictures").mkdir(parents=True)
    (folder / "model").mkdir()
    biased = verdict == "FAIL"
    attributes = {attribute: ("man", "woman"), "skin_tone": ("1", "2", "3", "4", "5")}
    rows = _samples(rng, labels, attributes, samples, biased)
    tables.write_table(rows, tables.SAMPLES, folder / "samples.parquet")
    attention = _attention(rng, rows, biased)
    tables.write_table(attention, tables.ATTENTION, folder / "attention.parquet")
    interventions = tables.empty(tables.INTERVENTIONS)
    tables.write_table(interventions, tables.INTERVENTIONS, folder / "interventions.parquet")
    evidence = _evidence(rng, labels, attributes, biased)
    tables.write_table(evidence, tables.EVIDENCE, folder / "evidence.parquet")
    findings = _findings(evidence, labels, attribute, biased)
    counts = pd.Series([finding["status"] for finding in findings]).value_counts().to_dict()
    reason = {
        "FAIL": "The model's answers rest on hair; at least one forbidden cue is confirmed.",
        "PASS": "Every forbidden region was tested and cleared.",
    }.get(verdict, "A required test could not be run.")
    write_json(folder / "findings.json", {"findings": findings})
    write_json(folder / "verdict.json", {"verdict": verdict, "reason": reason, "counts": counts})
    write_json(
        folder / "provenance.json",
        {
            "versions": {"cuecheck": "0.1.0", "python": "3.11.2", "torch": "2.6.0"},
            "git_commit": "40a175b",
            "device": {"name": "cpu", "precision": "float32"},
            "seeds": {"audit": 0, "training": 0},
            "hashes": {"model": "9f" * 32, "samples": "1c" * 32},
            "timings": {"train": 81.5, "explain": 20.25, "intervene": 33.0},
        },
    )
    history = [
        {"epoch": i + 1, "train_loss": 0.7 / (i + 1), "validation_accuracy": 1 - 0.5 / (i + 1)}
        for i in range(12)
    ]
    card = {"architecture": "small-cnn", "parameters": 120000, "history": history}
    write_json(folder / "model" / "card.json", card)
    _write_config(folder, labels, attribute)
    _write_pictures(rng, folder, rows, attribute, pictures)
    _write_discovery(rng, folder, labels, attribute)
    _write_maps(rng, folder, rows, biased)
    return folder


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def _write_config(folder: Path, labels: tuple[str, ...], attribute: str) -> None:
    config = {
        "name": "demo",
        "description": "Doctors and nurses: does the model read the tools, or the person?",
        "data": {
            "source": "scenes",
            "classes": list(labels),
            "attributes": [attribute, "skin_tone"],
        },
        "regions": {
            "source": {"encoding": "codes", "values": {name: i for i, name in enumerate(REGIONS)}},
            "roles": {"core": ["tools"], "forbidden": ["face", "hair"]},
        },
    }
    text = yaml.safe_dump(config, allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")


def _samples(
    rng: np.random.Generator,
    labels: tuple[str, ...],
    attributes: dict[str, tuple[str, ...]],
    count: int,
    biased: bool,
) -> pd.DataFrame:
    first, second = attributes
    records = []
    for i in range(2 * count):
        part = "audit" if i < count else "train"
        label = labels[i % len(labels)]
        likely = 0 if i % len(labels) == 0 else 1
        aligned = rng.random() < (0.5 if part == "audit" else 0.85 if biased else 0.5)
        group = attributes[first][likely if aligned else 1 - likely]
        chance = (0.96 if aligned else 0.6) if biased else 0.94
        right = rng.random() < chance
        bad = i % 97 == 5
        audited = part == "audit" and not bad
        records.append(
            {
                "sample_id": f"s{i:04}",
                "path": f"pictures/{i}.png",
                "part": part,
                "label": label,
                "cluster_id": f"s{i:04}",
                "status": tables.QUARANTINED if bad else tables.OK,
                "reason": "truncated image: 12 bytes missing" if bad else "",
                "prediction": (label if right else labels[(i + 1) % len(labels)])
                if audited
                else None,
                "score": rng.uniform(0.55, 1) if audited else None,
                "margin": rng.uniform(0.2, 5) if audited else None,
                "true_margin": (1 if right else -1) * rng.uniform(0.2, 5) if audited else None,
                "stands_for": 1.0,
                tables.attribute_column(first): group,
                tables.attribute_column(second): attributes[second][int(rng.integers(5))],
            }
        )
    return pd.DataFrame(records)


def _attention(rng: np.random.Generator, samples: pd.DataFrame, biased: bool) -> pd.DataFrame:
    areas = {"face": 0.08, "hair": 0.1, "clothing": 0.2, "tools": 0.06, "background": 0.56}
    pull = {"face": 2.0, "hair": 6.0, "clothing": 0.8, "tools": 1.2, "background": 0.4}
    calm = {"face": 0.6, "hair": 0.5, "clothing": 1.0, "tools": 9.0, "background": 0.5}
    audited = samples[(samples["part"] == "audit") & (samples["status"] == tables.OK)]
    records = []
    for row, explained in product(audited.to_dict("records"), ("true", "predicted")):
        mass = {
            region: area * (pull if biased else calm)[region] * rng.lognormal(0, 0.4)
            for region, area in areas.items()
        }
        total = sum(mass.values())
        for region, area in areas.items():
            share = mass[region] / total
            records.append(
                {
                    "sample_id": row["sample_id"],
                    "method": "grad-cam",
                    "explained": explained,
                    "target_class": row["label" if explained == "true" else "prediction"],
                    "region": region,
                    "share": share,
                    "area": area,
                    "rho": (share / area) / ((1 - share) / (1 - area)),
                    "pointing": float(share == max(mass.values()) / total),
                    "dead": False,
                    "measurable": True,
                }
            )
    return pd.DataFrame(records)


def _evidence(
    rng: np.random.Generator,
    labels: tuple[str, ...],
    attributes: dict[str, tuple[str, ...]],
    biased: bool,
) -> pd.DataFrame:
    records = []
    cells = [(tables.ALL, tables.ALL, 96)]
    cells += [(name, value, 40) for name, values in attributes.items() for value in values]
    acts = ("remove:blur", "remove:local-mean", "swap")
    for region, label, act, (attribute, value, n) in product(("face", "hair"), labels, acts, cells):
        truth = {"hair": 0.24, "face": 0.075}[region] if biased else 0.01
        effect = truth + rng.normal(0, 0.015)
        reach = (0.055 if truth > 0.05 else 0.035) * np.sqrt(96 / n)
        whole = attribute == tables.ALL
        records.append(
            {
                "measure": "excess_flips", "region": region, "role": "forbidden",
                "target_class": label, "attribute": attribute, "subgroup": value, "act": act,
                "required": whole, "n": n, "clusters": n if value != "5" else 12,
                "excluded": 3, "undrawn": 0,
                "effect": effect, "low": effect - reach, "high": effect + reach,
                "lower_limit": effect - 0.84 * reach, "upper_limit": effect + 0.84 * reach,
                "margin_effect": 4 * effect, "p": 0.0002, "p_adjusted": 0.0008 if whole else None,
                "detectable": 0.06,
            }
        )  # fmt: skip
    described = _described(rng, labels, cells, biased)
    harm = _harm(labels, next(iter(attributes)), cells, biased)
    return pd.concat([pd.DataFrame(records), described, harm], ignore_index=True)


def _described(
    rng: np.random.Generator,
    labels: tuple[str, ...],
    cells: list[tuple[str, str, int]],
    biased: bool,
) -> pd.DataFrame:
    """Accuracy and attention per cell."""
    wanted = [("accuracy", tables.ALL)]
    wanted += [(name, region) for name in ("share", "log_rho") for region in REGIONS]
    records = []
    for (measure, region), label, (attribute, value, n) in product(
        wanted, (*labels, tables.ALL), cells
    ):
        if label == tables.ALL and measure != "accuracy":
            continue
        looks = 1.2 if (region == "hair") == biased else -0.8
        effect = {
            "accuracy": (0.62 if biased and value == "woman" and label == labels[0] else 0.93),
            "share": 0.15 + 0.1 * looks,
            "log_rho": looks,
        }[measure] + rng.uniform(-0.02, 0.02)
        records.append(
            {
                "measure": measure, "region": region, "role": "allowed", "target_class": label,
                "attribute": attribute, "subgroup": value, "required": False, "n": n,
                "act": tables.ALL if measure == "accuracy" else "explain:grad-cam",
                "clusters": n if value != "5" else 12,
                "excluded": 0, "undrawn": 0, "effect": effect,
                "low": effect - 0.05, "high": effect + 0.05, "lower_limit": effect - 0.04,
                "upper_limit": effect + 0.04, "margin_effect": None, "p": None,
                "p_adjusted": None, "detectable": None,
            }
        )  # fmt: skip
    return pd.DataFrame(records)


def _harm(
    labels: tuple[str, ...], attribute: str, cells: list[tuple[str, str, int]], biased: bool
) -> pd.DataFrame:
    """Worst group, aligned against conflicting, calibration, the right answer."""
    gap = 0.3 if biased else 0.01
    rows: list[dict[str, Any]] = [
        {
            "measure": "worst_group", "target_class": labels[0], "attribute": attribute,
            "subgroup": "woman", "n": 40, "effect": 0.62 if biased else 0.92,
        }
    ]  # fmt: skip
    rows += [
        {"measure": "aligned_gap", "target_class": label, "attribute": attribute, "effect": gap}
        for label in (tables.ALL, *labels)
    ]
    for name, value, n in cells:
        cell = {"attribute": name, "subgroup": value, "n": n}
        rows += [
            cell | {"measure": "calibration_gap", "effect": 0.12 if biased else 0.02},
            cell | {"measure": "brier", "effect": 0.14},
            cell | {"measure": "ece", "act": "bins:2", "effect": 0.08},
        ]
        rows += [
            cell | {
                "measure": "true_margin_effect", "region": "hair", "role": "forbidden",
                "target_class": label, "act": "remove:blur", "effect": 0.8 if biased else 0.0,
            }
            for label in labels
        ]  # fmt: skip
    blank = dict.fromkeys(("region", "role", "target_class", "subgroup", "act"), tables.ALL)
    blank |= {"required": False, "n": 96, "excluded": 0}
    frame = pd.DataFrame([blank | row for row in rows])
    reach = {"low": -0.05, "high": 0.05, "lower_limit": -0.04, "upper_limit": 0.04}
    limits = {name: frame["effect"] + change for name, change in reach.items()}
    unknown = dict.fromkeys(("margin_effect", "p", "p_adjusted", "detectable"))
    return frame.assign(clusters=frame["n"], **limits, **unknown)


def _findings(
    evidence: pd.DataFrame, labels: tuple[str, ...], attribute: str, biased: bool
) -> list[dict[str, Any]]:
    found = []
    for number, (region, label) in enumerate(product(("face", "hair"), labels)):
        rows = evidence[
            (evidence["measure"] == "excess_flips")
            & (evidence["region"] == region)
            & (evidence["target_class"] == label)
            & (evidence["attribute"] == tables.ALL)
        ]
        columns = ["act", "effect", "low", "high", "lower_limit", "upper_limit", "p_adjusted"]
        columns += ["n", "clusters", "excluded", "undrawn", "margin_effect"]
        acts = rows[columns].to_dict("records")
        weakest = min(acts, key=lambda act: act["lower_limit"])
        status = "CLEARED"
        if biased:
            status = "CONFIRMED" if region == "hair" else "INCONCLUSIVE"
        reason = {
            "CONFIRMED": f"Hiding {region} changes more answers than hiding as much elsewhere.",
            "INCONCLUSIVE": "The interval holds both limits; more samples would decide.",
            "CLEARED": "Every act stays below the pass limit.",
        }[status]
        found.append(
            {
                "fingerprint": f"f{number:07}",
                "region": region,
                "target_class": label,
                "role": "forbidden",
                "test": "removal",
                "status": status,
                "reason": reason,
                **{key: weakest[key] for key in columns[1:9]},
                "clusters_needed": 310.0 if status == "INCONCLUSIVE" else None,
                "acts": acts,
                "worst_subgroup": _worst(evidence, region, label, weakest["act"], attribute)
                if biased
                else None,
            }
        )
    return found


def _worst(
    evidence: pd.DataFrame, region: str, label: str, act: str, attribute: str
) -> dict[str, Any]:
    wanted = {"measure": "excess_flips", "region": region, "target_class": label, "act": act}
    wanted |= {"attribute": attribute, "subgroup": "woman"}
    row = evidence[(evidence[list(wanted)] == pd.Series(wanted)).all(axis=1)].iloc[0]
    return {"attribute": attribute, "subgroup": "woman", "effect": row["effect"]}


def _write_pictures(
    rng: np.random.Generator, folder: Path, samples: pd.DataFrame, attribute: str, count: int
) -> None:
    audited = samples[(samples["part"] == "audit") & (samples["status"] == tables.OK)]
    records = []
    for i, row in enumerate(audited.head(count).to_dict("records")):
        scene = _scene(rng, dark=i % 2 == 0)
        files = {"original": scene, "guided": 255 - scene}
        files |= {"true": _heat("tools"), "predicted": _heat("hair" if i % 3 else "tools")}
        files |= {"against-true": _heat("hair"), "against-predicted": _heat("clothing")}
        maps = ("true", "predicted", "against-true", "against-predicted")
        variants = []
        for number, (region, arm) in enumerate(product(("hair", "face"), ("act", "placebo"))):
            top, bottom, left, right = BOXES[region if arm == "act" else "tools"]
            altered = scene.copy()
            altered[top:bottom, left:right] = scene[top:bottom, left:right].mean((0, 1))
            files[f"v{number}"] = altered
            other = next(name for name in samples["label"].unique() if name != row["prediction"])
            flips = arm == "act" and region == "hair"
            variants.append(
                {
                    "region": region, "test": "removal", "arm": arm, "fill": "local-mean",
                    "file": f"{i:04}-v{number}.webp",
                    "prediction_after": other if flips else row["prediction"],
                    "margin_before": 2.5, "margin_after": -0.8 if flips else 2.2,
                }
            )  # fmt: skip
        for name, picture in files.items():
            Image.fromarray(picture).save(folder / "pictures" / f"{i:04}-{name}.webp", quality=80)
        records.append(
            {
                "sample_id": row["sample_id"],
                "label": row["label"],
                "prediction": row["prediction"],
                "score": row["score"],
                "true_score": row["score"] if row["label"] == row["prediction"] else 0.1,
                "attributes": {
                    name: row[tables.attribute_column(name)] for name in (attribute, "skin_tone")
                },
                "chosen_for": ("typical", "relies", "wrong")[i % 3],
                "chosen_region": None,
                "size": [SIZE, SIZE],
                "original": f"{i:04}-original.webp",
                "maps": {name: f"{i:04}-{name}.webp" for name in maps},
                "guided": f"{i:04}-guided.webp",
                "outlines": {
                    region: f"M{left} {top}H{right}V{bottom}H{left}Z"
                    for region, (top, bottom, left, right) in BOXES.items()
                },
                "shares": {"hair": 0.4, "face": 0.2, "clothing": 0.1, "tools": 0.2},
                "true_shares": {"hair": 0.05, "face": 0.1, "clothing": 0.1, "tools": 0.7},
                "variants": variants,
            }
        )
    write_json(folder / "pictures" / "pictures.json", {"pictures": records})


def _write_discovery(
    rng: np.random.Generator, folder: Path, labels: tuple[str, ...], attribute: str
) -> None:
    """Neurons of every class, one unnamed cue for each, a picture and an association."""
    neurons = pd.DataFrame(
        [
            {
                "target_class": label, "channel": channel, "importance": importance,
                "region": region, "iou": 0.2, "agreement": 0.6, "n": 96, "clusters": 96,
            }
            for label in labels
            for channel, importance, region in ((7, 0.3, "hair"), (3, 0.2, tables.UNNAMED))
        ]
    )  # fmt: skip
    tables.write_table(neurons, tables.NEURONS, folder / "neurons.parquet")
    numbers = range(1, len(labels) + 1)
    cues = pd.DataFrame(
        [
            {
                "cue": number, "target_class": label, "group": 0, "found_on": 48, "n": 40,
                "status": "not confirmed", "clusters": 40, "excluded": 2, "area": 0.1,
                "overlap": [0.8, 0.15, 0.0, 0.0, 0.0], "elsewhere": 0.05, "act": "remove:blur",
                "effect": 0.02, "low": -0.04, "high": 0.09, "lower_limit": -0.03,
                "upper_limit": 0.08, "margin_effect": 0.1, "p": 0.2, "p_adjusted": 0.2,
                "typical": [f"s{number:04}"],
            }
            for number, label in zip(numbers, labels, strict=True)
        ]
    )  # fmt: skip
    tables.write_table(cues, tables.CUES, folder / "cues.parquet")
    associations = pd.DataFrame(
        [
            {
                "cue": number, "attribute": name, "subgroup": value, "n": 90, "clusters": 90,
                "inside": 0.7, "outside": 0.4, "p": 0.001, "p_adjusted": 0.002,
            }
            for number in numbers
            for name, value in ((tables.ALL, "wrong"), (attribute, "woman"))
        ]
    )  # fmt: skip
    tables.write_table(associations, tables.CUE_ASSOCIATIONS, folder / "cue_associations.parquet")
    (folder / "cues").mkdir()
    records = []
    for number, label in zip(numbers, labels, strict=True):
        Image.fromarray(_scene(rng, dark=False)).save(folder / "cues" / f"{number:02}-0.webp")
        records.append(
            {
                "cue": number, "sample_id": HOSTILE[0], "label": label, "size": [SIZE, SIZE],
                "file": f"{number:02}-0.webp", "patch": "M8 8h8v8h-8z",
            }
        )  # fmt: skip
    write_json(folder / "cues" / "pictures.json", {"pictures": records})


def _write_maps(
    rng: np.random.Generator, folder: Path, samples: pd.DataFrame, biased: bool
) -> None:
    """Grid maps that point at the hair of a biased run, else at the tools; each 29th is dead."""
    audited = samples[(samples["part"] == "audit") & (samples["status"] == tables.OK)]
    cell = SIZE // GRID
    masks = np.zeros((len(REGIONS), GRID, GRID))
    names = sorted(REGIONS)  # as the configuration has them
    for region, (top, bottom, left, right) in BOXES.items():
        fine = np.zeros((SIZE, SIZE))
        fine[top:bottom, left:right] = 1
        masks[names.index(region)] = fine.reshape(GRID, cell, GRID, cell).mean((1, 3))
    masks[names.index("background")] = np.clip(1 - masks.sum(0), 0, 1)
    looked_at = masks[names.index("hair" if biased else "tools")]
    maps = looked_at * rng.lognormal(0, 0.5, (len(audited), 1, 1))
    maps = maps + rng.uniform(-0.1, 0.2, maps.shape[:1] + looked_at.shape)
    maps[28::29] = -1.0
    rows = [
        {
            "sample_id": row["sample_id"], "explained": explained,
            "target_class": row["label" if explained == "true" else "prediction"],
            "height": GRID, "width": GRID, "map": one.reshape(-1).astype(np.float32),
            "masks": masks.reshape(-1).astype(np.float16),
        }
        for explained in ("true", "predicted")
        for row, one in zip(audited.to_dict("records"), maps, strict=True)
    ]  # fmt: skip
    tables.write_table(pd.DataFrame(rows), tables.MAPS, folder / "maps.parquet")


def _scene(rng: np.random.Generator, dark: bool) -> np.ndarray:
    """A crude person: background, hair, face, clothing, tool, noise."""
    picture = np.empty((SIZE, SIZE, 3))
    picture[:] = np.linspace(150, 210, SIZE)[:, None, None] + rng.integers(-30, 30, 3)
    colours = {"hair": (60, 40, 30), "face": (120, 80, 60) if dark else (225, 185, 160)}
    colours |= {"clothing": (70, 120, 190), "tools": (230, 230, 90)}
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for region, colour in colours.items():
        top, bottom, left, right = BOXES[region]
        y, x = (top + bottom) / 2, (left + right) / 2
        inside = ((rows - y) / (bottom - top)) ** 2 + ((columns - x) / (right - left)) ** 2 < 0.25
        picture[inside] = colour
    noisy = picture + rng.normal(0, 5, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _heat(region: str) -> np.ndarray:
    """A warm RGBA blob over a region."""
    top, bottom, left, right = BOXES[region]
    rows, columns = np.mgrid[:SIZE, :SIZE]
    distance = (rows - (top + bottom) / 2) ** 2 + (columns - (left + right) / 2) ** 2
    alpha = 220 * np.exp(-distance / 150)
    colour = np.stack([np.full_like(alpha, 250), 200 - alpha / 2, 60 + 0 * alpha, alpha], axis=-1)
    return colour.astype(np.uint8)
