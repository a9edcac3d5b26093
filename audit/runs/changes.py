"""What a started run must find as it was: data, code, weights, versions, device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from audit.errors import RunError
from audit.runs.files import write_text
from audit.runs.folder import Run

START_ANEW = "delete that folder or choose another --out"
_HASH_LENGTH = 64
_SHOWN = 8  # characters of a hash


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Every key whose value differs, as ``key: before, now after``, sorted.

    Examples
    --------
    >>> changes({"threads": 1, "libraries": {"torch": "2.6"}}, {"threads": 2, "libraries": {}})
    ['libraries.torch: 2.6, now None', 'threads: 1, now 2']
    """
    return [
        f"{key}: {short_hash(old)}, now {short_hash(new)}"
        for key, old, new in differences(before, now)
    ]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Every key whose value differs, with both values (None where it is missing), sorted.

    Examples
    --------
    >>> differences({"seed": 0, "data": {"root": "a"}}, {"seed": 0, "data": {"root": "b"}})
    [('data.root', 'a', 'b')]
    """
    old, new = _flat(before), _flat(now)
    return [
        (key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def refuse(run: Run, changed: Sequence[str]) -> NoReturn:
    """Stop; leave an unfinished run behind, so that the same command starts a new one.

    Raises
    ------
    RunError
        Always; names what changed.
    """
    todo = START_ANEW
    if not run.finished:
        write_text(run.stale, "\n".join(changed) + "\n")
        todo = f"the same command starts a new run (with --out: {START_ANEW})"
    raise RunError(f"{run.folder}: changed since the run was started: {', '.join(changed)}; {todo}")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def short_hash(value: Any) -> str:
    """A value as text, a SHA-256 cut short."""
    text = str(value)
    return text[:_SHOWN] if len(text) == _HASH_LENGTH else text
