"""Where a page outside the runs goes, and how it links to their files."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from audit.errors import RunError
from audit.runs.folder import Run


def refuse_in_run(output: Path) -> None:
    """Refuse to write into a run: a sealed run stays as it is.

    Raises
    ------
    RunError
        If the file lies in a run folder, or is a folder itself.
    """
    if output.is_dir():
        raise RunError(f"{output}: is a folder; name a file, e.g. {output / 'page.html'}")
    for parent in output.resolve().parents:
        if Run(parent).identity.is_file() or Run(parent).finished:
            raise RunError(f"{output}: lies in the run {parent}, which stays as it is")


def link(path: Path, where: Path) -> str | None:
    """Address of a file relative to a folder, or None where there is no such file."""
    if not path.is_file():
        return None
    return quote(Path(os.path.relpath(path.resolve(), where.resolve())).as_posix())
