"""The blind review: which pictures are shown without their class, and what there is to guess."""

from __future__ import annotations

from typing import Any

from reports.run import Run

CANDIDATES = 10  # classes to guess from; of more, as many are drawn


def blind(run: Run) -> dict[str, Any] | None:
    """The section; none where nothing can be guessed."""
    return {} if guessable(run) and len(classes(run)) > 1 else None


def embed(run: Run) -> dict[str, Any]:
    """Numbers of the pictures to guess, and the classes to guess from."""
    return {"pictures": guessable(run), "classes": classes(run), "candidates": CANDIDATES}


def guessable(run: Run) -> list[int]:
    """Pictures with a live map of the class predicted, one per cluster: guesses are independent."""
    clusters = dict(zip(run.samples["sample_id"], run.samples["cluster_id"], strict=True))
    found: dict[str, int] = {}
    for number, picture in enumerate(run.pictures):
        if picture.get("shares") and (picture.get("maps") or {}).get("predicted"):
            sample = str(picture.get("sample_id"))
            found.setdefault(str(clusters.get(sample, sample)), number)
    return list(found.values())


def classes(run: Run) -> list[str]:
    """The classes of the data, and what the model answers besides."""
    answers = {str(picture.get("prediction")) for picture in run.pictures}
    return [*run.classes, *sorted(answers - set(run.classes))]
