from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from audit.config_file import SHIPPED, dump_config, json_schema, load_config
from audit.errors import ConfigError

GOOD = """\
name: birds
data:
  root: .
  attributes: [place]
  train: {split: train}
regions:
  source:
    encoding: codes
    values: {bird: 1, water: [2, 3]}
  roles:
    core: [bird]
    forbidden: [water]
"""


def _load(folder: Path, text: str, **overrides: str) -> object:
    path = folder / "audit.yaml"
    path.write_text(text)
    return load_config(path, {k.replace("__", "."): v for k, v in overrides.items()})


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configurations_load(path: Path) -> None:
    assert load_config(path).name == path.stem


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = _load(tmp_path, GOOD)
    assert config.data.root == tmp_path.resolve()  # type: ignore[attr-defined]


def test_dumped_configuration_loads_as_the_same(tmp_path: Path) -> None:
    config = _load(tmp_path, GOOD)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert _load(elsewhere, dump_config(config)) == config  # type: ignore[arg-type]


def test_environment_fills_in_and_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = GOOD.replace("root: .", "root: ${BIRDS:-somewhere}/x")
    assert _load(tmp_path, text).data.root == tmp_path.resolve() / "somewhere/x"  # type: ignore[attr-defined]
    monkeypatch.setenv("BIRDS", "/birds")
    assert _load(tmp_path, text).data.root == Path("/birds/x")  # type: ignore[attr-defined]


def test_a_doubled_dollar_is_a_literal_one_and_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIRDS", "$${BIRDS} ${BIRDS}")
    for text in ("${NOT_SET_ANYWHERE}", "$${", "$", "costs $5 {so}", "$$$${x:-y}"):
        config = _load(tmp_path, f"description: '{text.replace('${', '$${')} ${{BIRDS}}'\n{GOOD}")
        assert config.description == f"{text} $${{BIRDS}} ${{BIRDS}}"  # type: ignore[attr-defined]
        assert _load(tmp_path, dump_config(config)) == config  # type: ignore[arg-type]


def test_overrides_win(tmp_path: Path) -> None:
    config = _load(tmp_path, GOOD, model__train__epochs="3", seed="7")
    assert (config.model.train.epochs, config.seed) == (3, 7)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("attributes: [place]", "atributes: [place]", r"audit\.yaml:4: data\.atributes: unknown key; allowed are: .*attributes"),
        ("root: .", "manifest: m.csv", r"audit\.yaml:2: data: root: needed"),
        ("encoding: codes", "encoding: voxels", r"audit\.yaml:7: regions\.source: .*'codes', 'masks'"),
        ("core: [bird]", "core: [brid]", r"audit\.yaml:6: regions: roles: unknown \['brid'\].*\['bird', 'water'\]"),
        ("core: [bird]", "core: [water]", r"a region has two roles"),
        ("values: {bird: 1, water: [2, 3]}", "values: {bird: one}", r"audit\.yaml:9: regions\.source\.values\.bird"),
        ("name: birds", "name: ../birds", r"audit\.yaml:1: name: .*pattern"),
        ("name: birds", "nom: birds", r"name: missing"),
        ("    values: {bird: 1, water: [2, 3]}\n", "", r"audit\.yaml:7: regions\.source\.values: missing"),
        ("values: {", "colunm: m\n    values: {", r"audit\.yaml:9: regions\.source\.colunm: unknown key; allowed are: column, "),
        ("train: {split: train}", "crossed: [[place, sex]]", r"crossed: \['sex'\] not among attributes"),
        ("  train: {split: train}\n", "", r"data\.train: needed to train; or give model\.checkpoint"),
        ("root: .", "root: ${NOT_SET_ANYWHERE}", r"NOT_SET_ANYWHERE is not set"),
        ("name: birds", "policy: {fail_effect: 0.2}\nname: birds", r"fail_effect must be below"),
        ("name: birds", "interventions: {fills: [blur]}\nname: birds", r"interventions\.fills"),
        ("name: birds", "interventions: {swap: {attribute: sex, match: [a]}}\nname: birds", r"'sex' is no attribute"),
        ("name: birds", "name: [birds", r"audit\.yaml:2: "),
        ("    core: [bird]", "    forbidden: []\n    core: [bird]", r"forbidden: given twice"),
        ("root: .", "root: .\n  classes: [a, b, a]", r"audit\.yaml:4: data\.classes: 'a' is listed twice"),
        ("train: {split: train}", "train: {split: train}\n  crossed: [[]]", r"data\.crossed\.0: .*at least 2 items"),
        ("train: {split: train}", "train: {split: train}\n  crossed: [[place, place]]", r"data\.crossed\.0: 'place' is listed twice"),
        ("name: birds", "model: {input: {size: [0, 32]}}\nname: birds", r"model\.input\.size\.0: .*greater than or equal to 1"),
        ("name: birds", "model: {input: {std: [0, 1, 1]}}\nname: birds", r"model\.input\.std\.0: .*greater than 0"),
        ("name: birds", "model: {input: {std: [.inf, 1, 1]}}\nname: birds", r"model\.input\.std\.0: .*finite number"),
        ("name: birds", "model: {train: {learning_rate: .inf}}\nname: birds", r"learning_rate: .*finite number"),
        ("name: birds", "model: {train: {learning_rate: .nan}}\nname: birds", r"learning_rate: "),
        ("values: {bird: 1, water: [2, 3]}", "values: {}", r"regions\.source\.values: .*at least 1 item"),
        ("values: {bird: 1, water: [2, 3]}", "values: {bird: 1, water: []}", r"regions\.source\.values\.water: .*at least 1 item"),
        ("codes\n    values: {bird: 1, water: [2, 3]}", "masks\n    columns: {}", r"regions\.source\.columns: .*at least 1 item"),
        ("codes\n    values: {bird: 1, water: [2, 3]}", "boxes\n    columns: {}", r"regions\.source\.columns: .*at least 1 item"),
        ("codes\n    values: {bird: 1, water: [2, 3]}", "landmarks\n    columns: {}", r"regions\.source\.columns: .*at least 1 item"),
        ("codes\n    values: {bird: 1, water: [2, 3]}", "landmarks\n    columns: {bird: []}", r"regions\.source\.columns\.bird: .*at least 1 item"),
        ("codes\n    values: {bird: 1, water: [2, 3]}", "coco\n    file: x\n    categories: {}", r"regions\.source\.categories: .*at least 1 item"),
        ("codes\n    values: {bird: 1, water: [2, 3]}", "coco\n    file: x\n    categories: {bird: []}", r"regions\.source\.categories\.bird: .*at least 1 item"),
        ("  roles:", "  derived: {all: {union: []}}\n  roles:", r"regions\.derived\.all\.union: .*at least 1 item"),
        (GOOD, "- a list", r"must be a mapping"),
        (GOOD, "", r"must be a mapping"),
    ],
)  # fmt: skip
def test_faults_name_file_line_key_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=expected):
        _load(tmp_path, GOOD.replace(old, new))


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    text = GOOD + "model: {train: {epochs: 0}}\nsead: 1\n"
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text)
    assert len(str(caught.value).splitlines()) == 2


def test_missing_file_and_binary_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "description: 2024-02-30\n",
        GOOD + "description: !!int abc\n",
        GOOD + "description: !!int ''\n",
        GOOD + "description: !!bool abc\n",
        GOOD + "description: !!timestamp abc\n",
        GOOD + "description: &a [*a]\n",
        GOOD + "description: " + "[" * 3000 + "]" * 3000 + "\n",
        GOOD.replace("root: .", "root: ~nosuchuser/x"),
        GOOD.replace("root: .", 'root: "a\\0b"'),
        GOOD.replace("root: .", "root: ${HOME}\0"),
        "? [a]\n: b\n",
        "1: b\n",
    ],
)
def test_no_text_is_a_traceback(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"audit\.yaml"):
        _load(tmp_path, text)


def test_a_fault_of_an_override_is_no_fault_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.yaml"
    path.write_text(GOOD + "seed: two\n")
    overrides = {"execution.parallel": "0", "model.train": "{epochs: x}"}
    with pytest.raises(ConfigError) as refused:
        load_config(path, overrides)
    lines = str(refused.value).splitlines()
    assert len(lines) == 3
    assert sum(line.startswith("--set execution.parallel: ") for line in lines) == 1
    assert sum(line.startswith("--set model.train.epochs: ") for line in lines) == 1
    assert sum(line.startswith(f"{path}:") and " seed: " in line for line in lines) == 1


def test_a_date_that_no_calendar_has_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.yaml"
    path.write_text("name: x\ndata:\n  train: {day: 2024-02-30}\n")
    with pytest.raises(ConfigError, match=r"audit\.yaml:3: 2024-02-30 is no date \(day is out"):
        load_config(path)


@pytest.mark.parametrize("value", ["!!int abc", "&a [*a]", "[" * 3000, "{a"])
def test_no_override_is_a_traceback(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="--set description: not a YAML value: "):
        _load(tmp_path, GOOD, description=value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{split: train}", "{split: 2024-01-01}", r"data\.train\.split: Input should be a valid string, or a valid "),
        ("{split: train}", "{split: [[a]]}", r"data\.train\.split"),
        ("values: {bird: 1,", "values: {bird: one,", r"regions\.source\.values\.bird: .*valid integer.*\(got 'one'\)$"),
        ("root: .", "root: .\n  validation: x", r"data\.validation: .*\(got 'x'\)$"),
        ("name: birds", "model: {outputs: {a: 1}}\nname: birds", r"model\.outputs: "),
    ],
)  # fmt: skip
def test_a_value_that_fits_no_alternative_is_one_fault(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match=r"audit\.yaml:\d+: " + expected) as caught:
        _load(tmp_path, GOOD.replace(old, new))
    places = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert len(places) == len(set(places))
    assert not any(tag in place for place in places for tag in ("str", "list[", "int", "["))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("model__train__epochs", "0", "--set model.train.epochs: "),
        ("data__foo", "1", "--set data.foo: unknown key"),
        ("model__foo", "1", "--set model.foo: unknown key; allowed are: architecture"),
    ],
)
def test_a_fault_of_an_override_names_its_whole_key(
    tmp_path: Path, key: str, value: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, GOOD, **{key: value})
    assert expected in str(caught.value)


def test_yaml_tags_run_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        _load(tmp_path, GOOD + "description: !!python/object/apply:os.getcwd []\n")


def test_schema_describes_the_keys() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert {"name", "data", "regions"} <= set(schema["required"])
    assert yaml.safe_load(GOOD).keys() <= schema["properties"].keys()


def test_roles_fall_back_and_can_differ_per_class(tmp_path: Path) -> None:
    regions = _load(tmp_path, GOOD + "  per_class: {duck: {allowed: [water]}}\n").regions  # type: ignore[attr-defined]
    assert regions.role("water", "crow") == "forbidden"
    assert regions.role("water", "duck") == "allowed"
    assert regions.with_role("core", "duck") == ["bird"]
