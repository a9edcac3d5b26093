"""Samples, parts, classes, attributes; checking and the quarantine limit."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from audit.data import check_dataset, quarantine_limit
from audit.data.digest import data_digests
from audit.data.parts import hold_out
from audit.errors import BadSample, DataError
from audit.tables import SAMPLES, attributes_of, read_table, write_table
from tests.data.conftest import Fixture, codes, picture

steady = settings(deadline=None, derandomize=True)


def test_a_sample_is_its_picture_and_masks(tiny: Fixture) -> None:
    dataset = tiny.open()
    assert len(dataset.samples) == 8
    for index in range(8):
        example = dataset.load(index)
        np.testing.assert_array_equal(example.picture, picture(index))
        np.testing.assert_array_equal(example.masks, [codes() == 1, np.isin(codes(), (2, 3))])


def test_masks_are_left_out_on_request(tiny: Fixture) -> None:
    for path in (tiny.folder / "masks").iterdir():
        path.unlink()
    assert tiny.open().load(0, with_masks=False).masks.shape == (0, 20, 30)


def test_samples_are_a_table_of_the_run(tiny: Fixture, tmp_path) -> None:
    tiny.data |= {"attributes": ["gender", "tone"], "crossed": [["gender", "tone"]]}
    tiny.victim["tone"] = "nan"

    samples, _ = check_dataset(tiny.open(), workers=2)
    write_table(samples, SAMPLES, tmp_path / "samples.parquet")
    back = read_table(tmp_path / "samples.parquet", SAMPLES)

    assert attributes_of(back) == ["gender", "tone", "gender x tone"]
    assert back["attribute:tone"].tolist()[-2:] == ["dark", "unknown"]
    assert back["attribute:gender x tone"].tolist()[-2:] == ["woman x dark", "unknown"]
    assert back["part"].tolist() == ["train"] * 4 + ["audit"] * 4
    assert back["cluster_id"].tolist() == back["sample_id"].tolist()
    assert back[["prediction", "score", "margin", "true_margin"]].isna().all(axis=None)


def test_rows_keep_every_column_as_text(tiny: Fixture) -> None:
    for index, row in enumerate(tiny.rows):
        row["age"] = f"{index}.0" if index % 2 else ""
    rows = tiny.open().rows
    assert rows["age"].tolist() == ["", "1.0", "", "3.0", "", "5.0", "", "7.0"]
    assert rows["gender"].tolist() == [row["gender"] for row in tiny.rows]


def test_classes_are_the_labels_sorted_or_as_named(tiny: Fixture) -> None:
    assert tiny.open().classes == ["doctor", "nurse"]
    tiny.data["classes"] = ["nurse", "doctor"]
    assert tiny.open().classes == ["nurse", "doctor"]


def test_rows_of_no_part_are_left_out_and_their_labels_too(tiny: Fixture) -> None:
    tiny.rows.insert(3, {**tiny.rows[0], "sample_id": "x", "split": "other", "label": ""})
    dataset = tiny.open()
    assert "x" not in set(dataset.samples["sample_id"])
    assert dataset.samples.index.equals(pd.RangeIndex(8))
    assert dataset.rows["sample_id"].tolist() == dataset.samples["sample_id"].tolist()
    np.testing.assert_array_equal(dataset.load(3).picture, picture(3))


def test_of_rows_with_the_same_id_the_first_stays(tiny: Fixture) -> None:
    tiny.rows.append(dict(tiny.rows[5]))
    samples = tiny.open().samples
    assert samples["status"].tolist() == ["ok"] * 8 + ["quarantined"]
    assert samples["sample_id"].iloc[-1] == "sample-5 (row 9)"


def test_a_quarantined_sample_cannot_be_loaded(tiny: Fixture) -> None:
    tiny.rows.append(dict(tiny.rows[5]))
    with pytest.raises(BadSample, match="duplicate id"):
        tiny.open().load(8)


def test_blanks_around_values_are_not_part_of_them(tiny: Fixture) -> None:
    tiny.data |= {"attributes": ["gender"], "columns": {"cluster_id": "person"}}
    for row in tiny.rows:
        row["person"] = row["gender"]
    expected = tiny.open().samples
    for row in tiny.rows[::2]:
        row |= {key: f" {row[key]}\t" for key in ("sample_id", "label", "gender", "person")}
    pd.testing.assert_frame_equal(tiny.open().samples, expected)


def test_a_label_with_blanks_is_found_by_a_filter(tiny: Fixture) -> None:
    tiny.data |= {"train": {"split": "train", "label": ["doctor", "nurse"]}}
    tiny.rows[0]["label"] = "doctor "
    assert (tiny.open().samples["part"] == "train").sum() == 4


def test_a_path_may_end_in_a_blank(tiny: Fixture) -> None:
    old = tiny.folder / tiny.victim["path"]
    old.rename(f"{old} ")
    tiny.victim["path"] += " "
    assert tiny.open().load(7).masks.any()


def test_hostile_names_are_only_text(tiny: Fixture) -> None:
    hostile = "\"'</script><b>🩺,;\n../../x"
    for row in tiny.rows[::2]:
        row["label"] = hostile
    tiny.victim["sample_id"] = hostile
    dataset = tiny.open()
    assert dataset.classes == [hostile, "nurse"]
    assert dataset.samples["sample_id"].iloc[-1] == hostile
    assert dataset.load(7).masks.any()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"attributes": ["age"]}, "data.attributes: no column 'age'; available are: sample_id, "),
        ({"audit": {"spilt": "test"}}, "data.audit: no column 'spilt'; available are: .*split"),
        ({"columns": {"label": "class"}}, "data.columns: no column 'class'; available are"),
        ({"columns": {"cluster_id": "patient"}}, "data.columns.cluster_id: no column 'patient'"),
        ({"audit": {"split": "tset"}}, "no row left by split: tset; values there: 'test', 'train'"),
        ({"audit": {"split": ["test", "train"]}}, "4 rows are in both, e.g. 'sample-0'"),
        ({"audit": {}}, "data.audit is not given, which means all rows"),
        ({"validation": {"split": "test"}}, "data.validation, data.audit: 4 rows are in both"),
        ({"classes": ["doctor", "nurse", "cook"]}, "data.train: no usable sample of class 'cook'"),
        ({"classes": ["doctor"]}, "at least two classes"),
        ({"train": {"label": "nurse", "split": "train"}}, "data.train: no .* class 'doctor' among"),
        ({"manifest": "manifest.parquet"}, "data.manifest: no such file"),
        ({"manifest": "../outside.csv"}, "data.manifest: lies outside data.root"),
        ({"manifest": "m" * 300}, "data.manifest: no such file"),
        ({"root": "r" * 300}, "data.root: no such folder"),
        ({"root": "nowhere"}, "data.root: no such folder"),
    ],
)
def test_an_unusable_data_set_is_an_error_in_words(tiny: Fixture, data: dict, message: str) -> None:
    (tiny.folder.parent / "outside.csv").write_text("sample_id\n1\n")
    tiny.data |= data
    with pytest.raises(DataError, match=message) as error:
        tiny.open()
    assert "\n" not in str(error.value)


def test_columns_of_the_swap_must_be_there(tiny: Fixture) -> None:
    tiny.data["attributes"] = ["gender"]
    tiny.extra["interventions"] = {"swap": {"attribute": "gender", "match": ["pose"]}}
    with pytest.raises(DataError, match=r"interventions\.swap: no column 'pose'"):
        tiny.open()


def test_filters_compare_text_and_take_lists_and_truth_values(tiny: Fixture) -> None:
    for index, row in enumerate(tiny.rows):
        row |= {"number": str(index), "good": ("True", "false")[index % 4 // 2]}
    tiny.data |= {"train": {"number": [0, "1", 2, 3]}, "audit": {"split": "test", "good": True}}
    assert tiny.open().samples["sample_id"].str[-1].tolist() == list("012345")


def test_a_validation_filter_may_cut_from_the_training_rows(tiny: Fixture) -> None:
    tiny.data["validation"] = {"sample_id": ["sample-2", "sample-3"]}
    parts = tiny.open().samples["part"].tolist()
    assert parts == ["train"] * 2 + ["validation"] * 2 + ["audit"] * 4


def test_without_training_rows_everything_is_audited(tiny: Fixture) -> None:
    tiny.data |= {"train": None, "audit": {}}
    tiny.extra["model"] = {"checkpoint": "model.pt"}
    assert set(tiny.open().samples["part"]) == {"audit"}


def test_a_validation_fraction_takes_whole_clusters(tiny: Fixture) -> None:
    tiny.data |= {"validation": 0.25, "columns": {"cluster_id": "person"}}
    base = [row for row in tiny.rows if row["split"] == "train"]
    tiny.rows = [row for row in tiny.rows if row["split"] == "test"]
    tiny.rows += [
        {**base[index % 2], "sample_id": f"s{index}", "person": f"p{index // 4}-{index % 2}"}
        for index in range(80)
    ]
    for row in tiny.rows[:4]:
        row["person"] = row["sample_id"]

    samples = tiny.open().samples
    again = tiny.open().samples
    tiny.extra["seed"] = 1
    other = tiny.open().samples

    pd.testing.assert_frame_equal(samples, again)
    assert samples["part"].tolist() != other["part"].tolist()
    trained = samples[samples["part"] != "audit"]
    assert (trained.groupby("cluster_id")["part"].nunique() == 1).all()
    held = trained[trained["part"] == "validation"]
    assert held.groupby("label")["cluster_id"].nunique().to_dict() == {"doctor": 5, "nurse": 5}


@steady
@given(
    labels=st.dictionaries(st.text(max_size=3), st.sampled_from("abc"), min_size=1, max_size=40),
    fraction=st.floats(0.01, 0.6),
    seed=st.integers(0, 3),
)
def test_hold_out_gives_each_class_its_part_and_never_all(labels, fraction, seed) -> None:
    held = hold_out(list(labels), list(labels.values()), fraction, seed)
    for name in set(labels.values()):
        members = {cluster for cluster, label in labels.items() if label == name}
        wanted = min(max(1, round(fraction * len(members))), len(members) - 1)
        assert len(held & members) == wanted


@steady
@given(
    clusters=st.dictionaries(
        st.text(max_size=2), st.sets(st.sampled_from("abcd"), min_size=1), min_size=1, max_size=12
    ),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 3),
)
def test_hold_out_of_clusters_with_several_classes_leaves_one_of_each(
    clusters, fraction, seed
) -> None:
    pairs = [(cluster, label) for cluster, labels in clusters.items() for label in labels]
    held = hold_out(*zip(*pairs, strict=True), fraction, seed)
    members = {label: {c for c, of in pairs if of == label} for _, label in pairs}
    for found in members.values():
        assert found - held
        wanted = min(max(1, round(fraction * len(found))), len(found) - 1) if fraction else 0
        # What is missing could only be taken from a class that has no other cluster left.
        assert len(found & held) >= wanted or all(
            any(members[label] - held == {cluster} for label in clusters[cluster])
            for cluster in found - held
        )


def test_hold_out_does_not_depend_on_the_order_of_the_rows() -> None:
    clusters = [f"c{index}" for index in range(30)]
    labels = ["ab"[index % 2] for index in range(30)]
    expected = hold_out(clusters, labels, 0.3, 0)
    assert hold_out(clusters[::-1], labels[::-1], 0.3, 0) == expected


def test_areas_are_parts_of_the_picture(tiny: Fixture) -> None:
    seen: list[int] = []
    samples, properties = check_dataset(tiny.open(), workers=2, progress=seen.append)
    areas = np.stack(properties["areas"].to_list())
    expected = [(codes() == 1).mean(), np.isin(codes(), (2, 3)).mean()]
    np.testing.assert_allclose(areas, [expected] * 8, rtol=1e-6)
    assert areas.dtype == np.float32
    assert seen == list(range(1, 9))
    assert (samples["status"] == "ok").all()


def test_the_check_does_not_depend_on_the_number_of_threads(tiny: Fixture) -> None:
    (tiny.folder / tiny.rows[2]["path"]).unlink()
    (tiny.folder / tiny.rows[5]["mask"]).unlink()
    dataset = tiny.open()
    (one, described), (many, again) = (check_dataset(dataset, workers=n) for n in (1, 5))
    pd.testing.assert_frame_equal(one, many)
    pd.testing.assert_frame_equal(described, again)
    assert len(described) == 6


def test_a_data_set_can_be_pickled(tiny: Fixture) -> None:
    dataset = pickle.loads(pickle.dumps(tiny.open()))
    np.testing.assert_array_equal(dataset.load(3).picture, picture(3))


def quarantined(count: int, of: int) -> pd.DataFrame:
    reasons = ["mask size: 3 x 4" if i % 3 else "missing image: no such file" for i in range(count)]
    return pd.DataFrame(
        {
            "sample_id": [f"s{index}" for index in range(of)],
            "part": "audit",
            "status": ["quarantined"] * count + ["ok"] * (of - count),
            "reason": reasons + [""] * (of - count),
        }
    )


@pytest.mark.parametrize(("count", "of", "limit"), [(0, 5, 0), (1, 100, 0.01), (9, 10, 1)])
def test_few_bad_samples_are_let_through(count: int, of: int, limit: float) -> None:
    quarantine_limit(quarantined(count, of), limit)


@pytest.mark.parametrize(("count", "of", "limit"), [(1, 5, 0), (2, 100, 0.01), (10, 10, 1)])
def test_too_many_bad_samples_stop_the_audit(count: int, of: int, limit: float) -> None:
    with pytest.raises(DataError, match=f"^{count} of {of} samples of the audit part"):
        quarantine_limit(quarantined(count, of), limit)


def test_the_limit_holds_for_each_part() -> None:
    training = quarantined(0, 20_000).assign(part="train")
    with pytest.raises(DataError, match=r"^150 of 200 samples of the audit part"):
        quarantine_limit(pd.concat([training, quarantined(150, 200)]), 0.01)


def test_the_limit_lists_reasons_and_ids() -> None:
    with pytest.raises(DataError) as error:
        quarantine_limit(quarantined(12, 40), 0.01)
    assert str(error.value).endswith(
        "mask size: 8 ('s1', 's2', 's4', ...); missing image: 4 ('s0', 's3', 's6', ...)"
    )


def test_a_file_that_cannot_be_read_has_a_digest_too(tiny: Fixture, monkeypatch) -> None:
    """The check, not the digest, tells what is wrong with it."""
    dataset = tiny.open()
    whole = data_digests(tiny.config(), dataset)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("audit.data.digest.hashlib.file_digest", refuse)
    unreadable = data_digests(tiny.config(), dataset)

    assert unreadable != whole
    assert data_digests(tiny.config(), dataset) == unreadable


def test_a_mask_is_found_beside_its_manifest(tiny: Fixture) -> None:
    inner = tiny.folder / "inner"
    inner.mkdir()
    for name in ("images", "masks"):
        (tiny.folder / name).rename(inner / name)
    tiny.write()
    (tiny.folder / "manifest.csv").rename(inner / "table.csv")
    tiny.data["manifest"] = "inner/table.csv"
    dataset = tiny.open()
    assert dataset.samples["path"].iloc[0] == "inner/images/sample-0.png"
    assert dataset.load(0).masks.any()


def test_root_and_manifest_may_be_named_through_links(tiny: Fixture) -> None:
    tiny.write()
    link = tiny.folder.parent / "link"
    link.symlink_to(tiny.folder)
    places = [(link, tiny.folder), (tiny.folder, link), (link, link)]
    for root, folder in places:
        tiny.data |= {"root": root, "manifest": str(folder / "manifest.csv")}
        dataset = tiny.open()
        assert dataset.samples["path"].iloc[0] == "images/sample-0.png"
        assert dataset.load(0).masks.any()


def test_a_picture_may_have_any_size(tiny: Fixture) -> None:
    Image.fromarray(picture(7, 1, 5)).save(tiny.folder / tiny.victim["path"])
    Image.fromarray(codes()[:1, :5]).save(tiny.folder / tiny.victim["mask"])
    assert tiny.open().load(7).masks.shape == (2, 1, 5)
