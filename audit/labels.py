"""The audits of a multi-label model: one per label, each an ordinary audit of two classes."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from pydantic import ValidationError

from audit.config import Audit, sides
from audit.errors import ConfigError


def per_label(audit: Audit) -> list[Audit]:
    """The audits that a configuration stands for: itself, or one per label to be audited.

    An audit of a label has the classes "not <label>" and "<label>", a name of its own
    (``<audit>.<label>``, so its runs and fingerprints are its own too), and of the roles in
    ``regions.per_class`` those of its classes; roles under a label's name hold for both its sides
    unless the other side has its own.

    Raises
    ------
    ConfigError
        If two labels would have the same name, or one is too long.
    """
    data = audit.data
    if not data.label_columns or data.classes is not None:
        return [audit]
    labels = [data.target] if data.target else list(data.label_columns)
    names = Counter(_name(audit, label) for label in data.label_columns)
    for label in labels:
        if names[_name(audit, label)] > 1:
            raise ConfigError(
                f"data.label_columns: '{label}' differs from another label in signs only, and the "
                "folders of their runs would have one name; rename one of them"
            )
    return [_of_label(audit, label) for label in labels]


def _of_label(audit: Audit, label: str) -> Audit:
    without, with_it = sides(label)
    tree: dict[str, Any] = audit.model_dump()
    tree["name"] = _name(audit, label)
    tree["data"] |= {"target": label, "classes": [without, with_it]}
    roles = tree["regions"]["per_class"]
    common = {without: roles[with_it], with_it: roles[with_it]} if with_it in roles else {}
    own = {without: roles[without]} if without in roles else {}
    tree["regions"]["per_class"] = common | own
    try:
        return Audit.model_validate(tree)
    except ValidationError as error:
        told = error.errors()[0]
        where = ".".join(map(str, told["loc"]))
        raise ConfigError(f"label '{label}': {where}: {told['msg']}") from error


def _name(audit: Audit, label: str) -> str:
    return f"{audit.name}.{re.sub('[^A-Za-z0-9._-]+', '-', label)}"
