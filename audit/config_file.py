"""A configuration file: one YAML document, read, completed and checked.

Unknown keys are errors. Every error names the file, the line, the key and what is allowed.
``${NAME}`` and ``${NAME:-default}`` in a text value are replaced from the environment; ``$${`` is a
literal ``${``. Relative paths are relative to the configuration file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from audit.config import Audit, GatePolicy, Policy, Section
from audit.errors import ConfigError
from audit.urls import SECRET

SHIPPED = Path(__file__).resolve().parents[1] / "configs"

_VARIABLE = re.compile(r"\$\$(?=\{)|\$\{(\w+)(?::-([^}]*))?\}")

Model = TypeVar("Model", bound=Section)
Schema = dict[str, Any]

_KEYS_NAMED = 4  # in the message about a file that has none
_OUGHT = "Input should be "
_LARGEST = 100_000  # values in a file

# What PyYAML raises; all but its own where a value contradicts its tag, or is nested without end.
_YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)


def load_config(
    path: Path, overrides: dict[str, str] | None = None, *, sealed: bool = False
) -> Audit:
    """Read, complete and check a configuration.

    Parameters
    ----------
    path
        The YAML file.
    overrides
        Dotted key to YAML text, e.g. ``{"model.train.epochs": "3"}``.
    sealed
        Whether it is that of a run, whose values are as resolved: ``${NAME}`` is then an error, or
        whoever made the run could have secrets of the reader's environment shown.

    Raises
    ------
    ConfigError
        If the file cannot be read or does not describe an audit; one line per fault.
    """
    return _resolved(read_model(path, Audit, overrides, sealed=sealed), path)


def overridden(config: Audit, overrides: Mapping[str, Any]) -> Audit:
    """A configuration with some keys changed.

    Parameters
    ----------
    config
        As read.
    overrides
        Dotted key to value, e.g. ``{"model.train.epochs": 3}``; relative paths are relative to the
        working directory.

    Raises
    ------
    ConfigError
        Naming the key that is unknown or whose value does not fit.
    """
    if not overrides:
        return config
    raw = config.model_dump(mode="json")
    for key, value in overrides.items():
        section, last = _section(raw, key, "overrides")
        section[last] = value
    try:
        return _resolved(Audit.model_validate(raw), Path("overrides").absolute())
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        message = _message(dict(fault), Audit.model_json_schema())
        raise ConfigError(f"overrides: {place}: {message}") from error


def load_policy(path: Path) -> GatePolicy:
    """Read and check the policy that a finished run is judged by again.

    Raises
    ------
    ConfigError
        If the file cannot be read or is no policy; one line per fault.
    """
    rules = read_model(path, GatePolicy)
    return rules.model_copy(update={"policy": _resolved_policy(rules.policy, path)})


def read_model(
    path: Path,
    model: type[Model],
    overrides: dict[str, str] | None = None,
    *,
    sealed: bool = False,
) -> Model:
    """Read a YAML file as one of the configuration's models; paths stay as they are written.

    Of a sealed run the environment is not read, see :func:`load_config`.

    Raises
    ------
    ConfigError
        If the file cannot be read or does not fit the model; one line per fault.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        told = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read ({told})") from error
    try:
        tree, raw = _parsed(text, str(path))
    except _YAML_ERRORS as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or f"not YAML ({' '.join(str(error).split())})"
        raise ConfigError(f"{path}{line}: {problem}") from error
    if not isinstance(raw, dict) or tree is None:
        known = ", ".join(f"'{name}'" for name in list(model.model_fields)[:_KEYS_NAMED])
        raise ConfigError(f"{path}: must be a mapping of keys such as {known}")
    for key, value in (overrides or {}).items():
        _override(raw, key, value)
    try:
        return model.model_validate(_expanded(raw, path, sealed))
    except ValidationError as error:
        faults = _faults(error, path, tree, model.model_json_schema(), list(overrides or {}))
        raise ConfigError(faults) from error


def _parsed(text: str, where: str) -> tuple[yaml.Node | None, Any]:
    """YAML as nodes, which know their lines, and as values."""
    tree = yaml.compose(text, Loader=yaml.SafeLoader)
    _refuse_what_unfolds(tree, where)
    _refuse_no_dates(tree, where)
    values = yaml.safe_load(text)
    _refuse_repeated_keys(tree, where)
    return tree, values


def _refuse_no_dates(node: yaml.Node | None, where: str) -> None:
    """Of a date that no calendar has, PyYAML does not tell the line."""
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:timestamp":
        try:
            yaml.SafeLoader("").construct_object(node)
        except ValueError as error:
            line = node.start_mark.line + 1
            raise ConfigError(f"{where}:{line}: {node.value} is no date ({error})") from error
    elif isinstance(node, yaml.CollectionNode):
        for item in node.value:
            for part in item if isinstance(item, tuple) else (item,):
                _refuse_no_dates(part, where)


def _refuse_what_unfolds(tree: yaml.Node | None, where: str) -> None:
    """A few aliases of aliases can stand for billions of values, and stop whoever visits each."""
    sizes: dict[int, int] = {}

    def size(node: Any) -> int:
        """Values in a node, those of an alias as often as it is used."""
        if isinstance(node, tuple):  # key and value
            return size(node[0]) + size(node[1])
        if id(node) not in sizes:
            sizes[id(node)] = 1  # while it is looked at: a node may contain itself
            if not isinstance(node, yaml.ScalarNode):
                sizes[id(node)] += sum(size(item) for item in node.value)
        return sizes[id(node)]

    if tree is not None and size(tree) > _LARGEST:
        raise ConfigError(
            f"{where}: stands for more than {_LARGEST:,} values; write out what the aliases repeat"
        )


def _refuse_repeated_keys(node: yaml.Node | None, where: str) -> None:
    """YAML lets the last of two equal keys win, which could drop a forbidden region unseen."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, where)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            line = key.start_mark.line + 1
            raise ConfigError(f"{where}:{line}: {key.value}: given twice; keep one")
        seen.add(key.value)
        _refuse_repeated_keys(value, where)


def _section(raw: dict[str, Any], dotted: str, option: str) -> tuple[dict[str, Any], str]:
    """Where the value of a dotted key lies, and its last name."""
    *parents, last = dotted.split(".")
    section = raw
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise ConfigError(f"{option} {dotted}: '{parent}' is not a section")
    return section, last


def _override(raw: dict[str, Any], dotted: str, value: str) -> None:
    section, last = _section(raw, dotted, "--set")
    try:
        _, section[last] = _parsed(value, f"--set {dotted}")
    except _YAML_ERRORS as error:
        raise ConfigError(f"--set {dotted}: not a YAML value: {value}") from error


def _expanded(value: Any, path: Path, sealed: bool) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(item, path, sealed) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, path, sealed) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        if name is None:
            return "$"
        if sealed:
            raise ConfigError(f"{path}: of a run {name} is not read from the environment")
        found = os.environ.get(name) or default
        if found is None:
            raise ConfigError(f"{path}: environment variable {name} is not set ('{value}')")
        return found

    return _VARIABLE.sub(replace, value)


def literal(value: Any) -> Any:
    """A tree of values whose texts a configuration file says as they are.

    >>> literal({"reason": ["${HOME} is not read", 1]})
    {'reason': ['$${HOME} is not read', 1]}
    """
    if isinstance(value, dict):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [literal(item) for item in value]
    return value.replace("${", "$${") if isinstance(value, str) else value


def _absolute(path: Path | None, file: Path) -> Path | None:
    """A path named in a file, which is relative to the file's folder."""
    try:
        return None if path is None else (file.resolve().parent / path.expanduser()).resolve()
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"{file}: {str(path)!r} is no path: {error}") from error


def _resolved_policy(policy: Policy, file: Path) -> Policy:
    return policy.model_copy(update={"waivers": _absolute(policy.waivers, file)})


def _resolved(config: Audit, file: Path) -> Audit:
    """The configuration with every path made absolute."""

    def absolute(path: Path | None) -> Path | None:
        return _absolute(path, file)

    model, root = config.model, config.data.root
    outputs = absolute(model.outputs) if isinstance(model.outputs, Path) else model.outputs
    return config.model_copy(
        update={
            "data": config.data.model_copy(
                update={"root": root if isinstance(root, str) else absolute(root)}
            ),
            "output": config.output.model_copy(update={"folder": absolute(config.output.folder)}),
            "policy": _resolved_policy(config.policy, file),
            "model": model.model_copy(
                update={
                    "checkpoint": absolute(model.checkpoint),
                    "initial_weights": absolute(model.initial_weights),
                    "outputs": outputs,
                }
            ),
        }
    )


def _faults(
    error: ValidationError, path: Path, tree: yaml.Node, schema: Schema, overridden: list[str]
) -> str:
    """One line a place: a value that fits none of several types has a fault for each of them."""
    messages: dict[str, list[str]] = {}
    got: dict[str, str] = {}
    for fault in error.errors():
        unknown = fault["type"] == "extra_forbidden"
        keys, line = _locate(tree, fault["loc"], schema, unknown=unknown)
        name = ".".join(keys)
        set_there = any(f"{name}.".startswith(f"{key}.") for key in overridden)
        where = "--set" if set_there else f"{path}:{line}:"
        place = f"{where} {name or 'the configuration'}"
        messages.setdefault(place, []).append(_message(dict(fault), schema))
        if _is_scalar(fault["input"]) and not unknown and fault["type"] != SECRET:
            got[place] = f" (got {str(fault['input'])[:80]!r})"
    return "\n".join(
        f"{place}: {', or '.join([first, *(text.removeprefix(_OUGHT) for text in others)])}"
        + got.get(place, "")
        for place, (first, *others) in messages.items()
    )


def _message(fault: dict[str, Any], schema: Schema) -> str:
    if fault["type"] == "extra_forbidden":
        return "unknown key; allowed are: " + ", ".join(_allowed(fault["loc"], schema))
    return "missing" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool))


def _locate(
    tree: yaml.Node, loc: tuple[int | str, ...], schema: Schema, *, unknown: bool
) -> tuple[list[str], int]:
    """Keys of ``loc`` that a file can have (pydantic adds union tags), and the line of the last.

    The last one is kept if it is an unknown key.
    """
    keys: list[str] = []
    section = schema
    node: yaml.Node | None = tree
    line = tree.start_mark.line + 1
    for index, step in enumerate(loc):
        child = _child(node, step)
        known = step in _properties(section, schema)
        section = _schema_child(section, step, schema)
        if child:
            line, node = child
        elif known or (unknown and index == len(loc) - 1):
            node = None  # not in the file, but left out or overridden
        else:
            continue
        keys.append(str(step))
    return keys, line


def _child(node: yaml.Node | None, step: int | str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item.start_mark.line + 1, item
    return None


def _allowed(loc: tuple[int | str, ...], schema: Schema) -> list[str]:
    """Keys that the section around ``loc`` knows."""
    node: dict[str, Any] = schema
    for step in loc[:-1]:
        node = _schema_child(node, step, schema)
    return sorted(_properties(node, schema))


def _properties(node: Schema, schema: Schema) -> dict[str, Any]:
    found: dict[str, Any] = _dereferenced(node, schema).get("properties", {})
    return found


def _dereferenced(node: Schema, schema: Schema) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


def _schema_child(node: dict[str, Any], step: int | str, schema: Schema) -> Schema:
    node = _dereferenced(node, schema)
    tagged = node.get("discriminator", {}).get("mapping", {})
    if step in tagged:
        return {"$ref": tagged[step]}
    if isinstance(step, int) and isinstance(node.get("items"), dict):
        items: Schema = node["items"]
        return items
    found = node.get("properties", {}).get(step)
    if found is None and isinstance(node.get("additionalProperties"), dict):
        found = node["additionalProperties"]
    if found is None:
        return node
    options = [option for option in found.get("anyOf", []) if "$ref" in option]
    child: dict[str, Any] = options[0] if options else found
    return child


def json_schema() -> dict[str, Any]:
    """JSON Schema of the configuration, for editors."""
    return Audit.model_json_schema()


def dump_config(config: Audit) -> str:
    """The configuration as YAML, complete with defaults."""
    dumped: str = yaml.safe_dump(
        literal(config.model_dump(mode="json")), sort_keys=False, allow_unicode=True
    )
    return dumped
