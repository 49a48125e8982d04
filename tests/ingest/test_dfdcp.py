from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmidd.errors import UsageError
from mmidd.ingest.base import Item, ReadOptions, find_reader
from mmidd.ingest.check import check
from mmidd.ingest.splits import TRAIN_VAL, derived_split
from mmidd.schema import ForgeryType, Label, Media, Split
from tests.ingest.trees import put
from tests.ingest.trees_dfdcp import CLIPS, dfdcp


def items(root: Path, **options: object) -> dict[str, Item]:
    found = find_reader("dfdcp")(root, ReadOptions(**options)).listed()  # type: ignore[arg-type]
    kept = [item for item in found if isinstance(item, Item)]
    assert len({item.video_id for item in kept}) == len(kept)
    return {item.video_id: item for item in kept}


def test_labels_people_pairs_and_test_set_come_from_the_json(tmp_path: Path) -> None:
    found = items(dfdcp(tmp_path))
    assert len(found) == len(CLIPS)
    fake, real = found["dfdcp/method_B/1255229_1003254_A_001"], found["dfdcp/original_videos/1003254_A_001"]
    assert (fake.label, fake.type, fake.split, fake.split_origin) == (
        Label.FAKE,
        ForgeryType.FS,
        Split.TEST,
        "official",
    )
    assert (real.label, real.split) == (Label.REAL, Split.TEST)
    assert fake.pair_id == fake.target_video == real.video_id
    assert fake.identity_ids == ("dfdcp/1003254", "dfdcp/1255229")


def test_validation_is_cut_from_train_by_actor(tmp_path: Path) -> None:
    dfdcp(tmp_path)
    for seed in range(6):
        found = items(tmp_path, seed=seed)
        splits = [derived_split(f"dfdcp/{who}", seed, TRAIN_VAL) for who in ("643049", "1255229")]
        real, fake = found["dfdcp/original_videos/643049_A_001"], found["dfdcp/method_A/1255229_643049_A_001"]
        assert real.split is splits[0]
        assert fake.split is (splits[0] if splits[0] is splits[1] else Split.NONE)
        assert {real.split_origin, fake.split_origin} == {"derived"}


@pytest.mark.parametrize(("level", "suffix"), [("videos", ".mp4"), ("frames", ".mp4"), ("", "")])
def test_copies_of_other_tools_say_the_same(level: str, suffix: str, tmp_path: Path) -> None:
    plain = items(dfdcp(tmp_path / "plain"))
    copy = items(dfdcp(tmp_path / "copy", level=level, suffix=suffix))
    assert {(k, i.pair_id, i.split, i.label) for k, i in copy.items()} == {
        (k, i.pair_id, i.split, i.label) for k, i in plain.items()
    }
    assert {i.media for i in copy.values()} == {Media.PRECROPPED if level == "frames" else Media.VIDEO}


def test_a_fake_whose_original_is_absent_is_noted_and_unpaired(tmp_path: Path) -> None:
    dfdcp(tmp_path)
    (tmp_path / "original_videos/643049/643049_A_001.mp4").unlink()
    fake = items(tmp_path)["dfdcp/method_A/1255229_643049_A_001"]
    assert (fake.pair_id, fake.pair_confidence) == (fake.video_id, None)
    assert "original" in str(fake.label_note)


def test_missing_and_unnamed_clips_are_reported_under_one_split(tmp_path: Path) -> None:
    dfdcp(tmp_path)
    (tmp_path / "method_B/1003254/1003254_A/1255229_1003254_A_001.mp4").unlink()
    put(tmp_path / "method_A/1_2_A_001.mp4")
    report = check(find_reader("dfdcp")(tmp_path, ReadOptions()))
    assert report.counts["method_B", "", "test"].missing == ["1255229_1003254_A_001"]
    assert [u.path for u in report.unlisted] == ["method_A/1_2_A_001.mp4"]
    assert all(c.expected == c.found + len(c.missing) for c in report.counts.values())


def test_the_json_is_needed_and_must_be_the_official_one(tmp_path: Path) -> None:
    file = dfdcp(tmp_path) / "dataset.json"
    for text in ("{", json.dumps({"elsewhere/a.mp4": {}}), json.dumps({"method_A/a.mp4": {"label": "fake"}})):
        file.write_text(text)
        with pytest.raises(UsageError, match="not the official JSON"):
            items(tmp_path)
    file.unlink()
    with pytest.raises(UsageError, match=r"dataset\.json.*--annotations"):
        items(tmp_path)
