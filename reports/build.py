"""Build the report: one HTML file that works offline and runs nothing but its own scripts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from audit.atomic import replacing
from audit.gate.findings import reading
from audit.interventions import FILLS
from reports import blind, pictures, review, words
from reports.figures import style
from reports.figures.table import embed
from reports.run import Run, by_level, read_run, subgroups_of
from reports.sections import SECTIONS

TEMPLATES = Path(__file__).resolve().parent / "templates"
SCRIPTS = (
    "page.js",
    "filter.js",
    "chart_table.js",
    "charts.js",
    "pictures.js",
    "mean_maps.js",
    "review.js",
    "blind.js",
)


def build_report(run: Path) -> Path:
    """Write ``report.html`` into a run folder, from the folder alone.

    Parameters
    ----------
    run
        The run folder.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    RunError
        If the folder lacks a required file, or one cannot be read; the message names it.
    ConfigError
        If its ``config.yaml`` is not a configuration.
    """
    report = run / "report.html"
    write_page(report, render(read_run(run)))
    return report


def write_page(path: Path, page: str) -> None:
    """Write a page, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def render(run: Run) -> str:
    """The report as HTML."""
    sections = [
        {"id": section.id, "title": section.title, **context}
        for section in SECTIONS
        if (context := section.context(run)) is not None
    ]
    verdict = sections[0]["verdict"]
    return render_page(
        "sections",
        sections,
        {
            "gallery": pictures.embed(run) | _gallery_words(run),
            "review": review.embed(run),
            "blind": blind.embed(run),
        },
        SCRIPTS,
        styles=("style.css", "review.css"),
        title=f"{verdict} · {run.config.name}",
        name=run.config.name,
        tone=verdict,
        source="the run folder",
        confidence=run.confidence,
        run=run,
        filter=_filter(run, sections),
    )


def render_page(
    folder: str,
    sections: Sequence[dict[str, Any]],
    data: dict[str, Any],
    script_names: Sequence[str],
    *,
    styles: Sequence[str] = ("style.css",),
    **context: Any,
) -> str:
    """A page of sections, each a template of ``folder``: self-contained, running its scripts only.

    Parameters
    ----------
    folder
        Folder of the sections' templates.
    sections
        Context of each section, with its ``id`` (the name of its template) and ``title``.
    data
        What the scripts read, besides the charts of the sections.
    script_names, styles
        Scripts and style sheets of the page, from the folder of the templates.
    context
        ``title``, ``name``, ``tone`` (a verdict, or empty) and ``source`` of the page, the
        ``confidence`` of its intervals in words, and what its templates read besides.
    """
    charts = [chart for section in sections for chart in section.get("charts", [])]
    scripts = [(TEMPLATES / name).read_text(encoding="utf-8") for name in script_names]
    plotly = get_plotlyjs()
    return (
        _environment()
        .get_template("page.html")
        .render(
            folder=folder,
            sections=sections,
            data={
                "charts": {chart.id: _figures(chart) for chart in charts},
                "tables": {
                    chart.id: embed(chart.table) for chart in charts if chart.table is not None
                },
                "dark": style.DARK,
                **data,
            },
            palette=style.PALETTE,
            styles=styles,
            scripts=scripts,
            plotly=_compressed(plotly) if charts else None,
            policy=_content_security_policy([*scripts, plotly]),
            **context,
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "separators": (",", ":"),
        "allow_nan": False,
    }
    environment.globals["words"] = words
    environment.globals["reading"] = reading
    return environment


def _filter(run: Run, sections: list[dict[str, Any]]) -> dict[str, Any]:
    """What charts and pictures can be narrowed to, and the section before which to ask."""
    explored = [section["id"] for section in sections if section.get("charts")]
    return {
        "before": explored[0] if explored else None,
        "classes": run.classes,
        "subgroups": {name: by_level(subgroups_of(run.audited, name)) for name in run.attributes},
        "regions": run.config.regions.names,
    }


def _figures(chart: style.Chart) -> dict[str, Any]:
    return {key: json.loads(figure.to_json()) for key, figure in chart.figures.items()}


def _gallery_words(run: Run) -> dict[str, Any]:
    """What the gallery's script needs besides the pictures."""
    names = run.config.regions.names
    return {
        "roles": {
            label: {region: run.config.regions.role(region, label) for region in names}
            for label in {str(picture.get("label")) for picture in run.pictures}
        },
        "fills": {name: words.fill(name) for name in (*FILLS, "donor")},
        "terms": {"counterfactual": words.TERMS["counterfactual"]},
    }


@cache
def _compressed(script: str) -> str:
    return base64.b64encode(gzip.compress(script.encode(), 9, mtime=0)).decode("ascii")


def _content_security_policy(scripts: list[str]) -> str:
    """Nothing is fetched, and only the given scripts run, whatever the data holds."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
