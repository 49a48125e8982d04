from __future__ import annotations

from pathlib import Path

import pytest

from mmidd.errors import UsageError
from mmidd.ingest.base import Item, ReadOptions, Unlisted, find_reader
from mmidd.ingest.check import check
from mmidd.ingest.splits import TRAIN_VAL, derived_split
from mmidd.schema import ForgeryType, Label, Media, Split
from tests.ingest.trees import PNG, put
from tests.ingest.trees_dfdc import dfdc


def read(root: Path, **options: object) -> dict[str, Item]:
    found = find_reader("dfdc")(root, ReadOptions(**options)).listed()  # type: ignore[arg-type]
    return {item.video_id: item for item in found if isinstance(item, Item)}


@pytest.mark.parametrize(("nested", "level"), [(False, ""), (True, ""), (False, "videos")])
def test_folders_are_splits_and_annotations_are_labels(nested: bool, level: str, tmp_path: Path) -> None:
    found = read(dfdc(tmp_path, nested=nested, level=level))
    assert {
        name: (item.label.value, item.split.value, item.split_origin) for name, item in found.items()
    } == {
        "dfdc/part0/aaa": ("fake", "train", "official"),
        "dfdc/part0/bbb": ("real", "train", "official"),
        "dfdc/part13/ccc": ("real", "train", "official"),
        "dfdc/part13/ddd": ("fake", "train", "official"),
        "dfdc/validation/eee": ("real", "val", "official"),
        "dfdc/validation/fff": ("fake", "val", "official"),
        "dfdc/test/eee": ("real", "test", "official"),
        "dfdc/test/fff": ("fake", "test", "official"),
    }


def test_originals_are_sought_in_the_same_part_only(tmp_path: Path) -> None:
    found = read(dfdc(tmp_path))
    near, far = found["dfdc/part0/aaa"], found["dfdc/part13/ddd"]
    assert (near.pair_id, near.pair_confidence) == ("dfdc/part0/bbb", "declared")
    assert (far.pair_id, far.pair_confidence) == (far.video_id, None)
    assert "another part" in str(far.label_note)


def test_fakes_are_face_swaps_by_default_and_say_so(tmp_path: Path) -> None:
    item = read(dfdc(tmp_path))["dfdc/test/fff"]
    assert (item.type, item.method, item.label) == (ForgeryType.FS, "DFDC", Label.FAKE)
    assert "not told" in str(item.label_note)


def test_validation_can_be_cut_from_train_by_whole_parts(tmp_path: Path) -> None:
    dfdc(tmp_path)
    seen = set()
    for seed in range(8):
        found = read(tmp_path, derive_splits=True, seed=seed)
        for part, clips in (("part0", "ab"), ("part13", "cd")):
            splits = {found[f"dfdc/{part}/{3 * clip}"].split for clip in clips}
            assert splits == {derived_split(f"dfdc/{part}", seed, TRAIN_VAL)}
            seen |= splits
        assert found["dfdc/validation/eee"].split is Split.VAL
    assert seen == {Split.TRAIN, Split.VAL}


@pytest.mark.parametrize("name", ["dfdc_train_part_13/metadata.json", "test/labels.csv"])
def test_annotations_are_asked_for_and_can_be_named(name: str, tmp_path: Path) -> None:
    root = dfdc(tmp_path / "raw")
    (tmp_path / "notes" / name).parent.mkdir(parents=True)
    (root / name).rename(tmp_path / "notes" / name)
    with pytest.raises(UsageError, match=f"no {Path(name).name} in .*--annotations"):
        read(root)
    assert len(read(root, annotations=tmp_path / "notes")) == 8


@pytest.mark.parametrize(
    "text", [b"{", b'{"a.mp4": {"split": "train"}}', b"[1]", b'{"a.mp4": {"label": "x"}}']
)
def test_damaged_metadata_is_one_line(text: bytes, tmp_path: Path) -> None:
    put(dfdc(tmp_path) / "dfdc_train_part_0/metadata.json", text)
    with pytest.raises(UsageError, match="download it again"):
        read(tmp_path)


def test_missing_and_unlisted_clips_are_named(tmp_path: Path) -> None:
    root = dfdc(tmp_path)
    (root / "dfdc_train_part_0/aaa.mp4").unlink()
    put(root / "test/zzz.mp4")
    report = check(find_reader("dfdc")(root, ReadOptions()))
    assert report.counts["DFDC", "", "train"].missing == ["aaa"]
    assert report.unlisted == [Unlisted("test/zzz.mp4", "the annotation of test does not name it")]


def test_frames_of_other_tools_are_videos(tmp_path: Path) -> None:
    root = dfdc(tmp_path)
    for stem in ("eee", "fff"):
        (root / "test" / f"{stem}.mp4").unlink()
        put(root / "test/frames" / stem / "000.png", PNG)
    assert read(root)["dfdc/test/fff"].media is Media.PRECROPPED


def test_one_part_alone_is_enough(tmp_path: Path) -> None:
    dfdc(tmp_path / "all")
    (tmp_path / "some").mkdir()
    (tmp_path / "all/dfdc_train_part_13").rename(tmp_path / "some/dfdc_train_part_13")
    assert set(read(tmp_path / "some")) == {"dfdc/part13/ccc", "dfdc/part13/ddd"}
