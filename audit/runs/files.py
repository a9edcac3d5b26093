"""Files that exist whole or not at all, and their digests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from audit.atomic import replacing
from audit.errors import RunError


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON, sorted and indented; NaN is refused."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """What :func:`write_json` writes."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """Read a JSON object that has these keys.

    Raises
    ------
    RunError
        If the file is missing, is not JSON (NaN is none), or is not an object with these keys.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError as error:
        raise RunError(f"{path}: missing; is this a run folder, and did the run finish?") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(value, dict) or not all(key in value for key in keys):
        raise RunError(f"{path}: must be a JSON object{_with(keys)}")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _with(keys: tuple[str, ...]) -> str:
    named = ", ".join(f"'{key}'" for key in keys)
    return f" with the key{'s' if len(keys) > 1 else ''} {named}" if keys else ""


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-like value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
