"""FaceForensics++: splits, pairs, people, masks, compressions and layout variants."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mmidd.errors import UsageError
from mmidd.ingest.base import Item, ReadOptions, Unlisted, find_reader
from mmidd.ingest.check import check
from mmidd.schema import Split
from tests.ingest import trees


def read(root: Path, options: ReadOptions = ReadOptions(), name: str = "ff++") -> dict[str, Item]:
    found = find_reader(name)(root, options).items()
    return {item.video_id: item for item in found if isinstance(item, Item)}


@pytest.mark.parametrize("name", ["ff++", "ffpp", "FaceForensics"])
def test_aliases(tmp_path: Path, name: str) -> None:
    assert read(trees.ffpp(tmp_path), name=name)


def test_a_fake_is_paired_with_the_clip_whose_body_it_keeps(tmp_path: Path) -> None:
    item = read(trees.ffpp(tmp_path))["ff++/Face2Face/c23/003_002"]
    assert (item.type, item.label, item.method) == ("FR", "fake", "Face2Face")
    assert item.pair_id == item.target_video == "ff++/youtube/c23/003"
    assert item.donor_video == "ff++/youtube/c23/002"
    assert item.identity_ids == ("ff++/person1", "ff++/person1")
    assert item.mask == "manipulated_sequences/Face2Face/masks/videos/003_002.mp4"
    assert (item.split, item.split_origin) == (Split.TRAIN, "official")


def test_types_of_all_methods(tmp_path: Path) -> None:
    types = {item.method: item.type.value for item in read(trees.ffpp(tmp_path)).values()}
    assert types == {
        "youtube": "REAL",
        "actors": "REAL",
        "Deepfakes": "FS",
        "FaceSwap": "FS",
        "FaceShifter": "FS",
        "DeepFakeDetection": "FS",
        "Face2Face": "FR",
        "NeuralTextures": "FR",
    }


def test_splits_are_the_official_lists(tmp_path: Path) -> None:
    items = read(trees.ffpp(tmp_path))
    assert items["ff++/youtube/c23/005"].split is Split.VAL
    assert items["ff++/Deepfakes/c23/007_006"].split is Split.TEST
    assert items["ff++/FaceShifter/c23/006_007"].mask is None


def test_deepfakedetection_has_actors_scenes_and_no_split(tmp_path: Path) -> None:
    item = read(trees.ffpp(tmp_path))["ff++/DeepFakeDetection/c23/01_02__exit_phone_room__YVGY8LOK"]
    assert item.pair_id == "ff++/actors/c23/01__exit_phone_room"
    assert item.donor_video == "ff++/actors/c23/02__exit_phone_room"
    assert item.identity_ids == ("ff++/actor01", "ff++/actor02")
    assert (item.split, item.split_origin) == (Split.NONE, "none")


def test_compressions_are_chosen_and_c0_is_raw(tmp_path: Path) -> None:
    root = trees.ffpp(tmp_path, compressions=("c0", "c40"))
    assert {item.compression for item in read(root).values()} == {"raw", "c40"}
    assert {item.compression for item in read(root, ReadOptions(("raw",))).values()} == {"raw"}
    with pytest.raises(UsageError, match="no videos of compression c23"):
        read(root, ReadOptions(("c23",)))
    with pytest.raises(UsageError, match="raw, c23 and c40"):
        read(root, ReadOptions(("c99",)))


def test_missing_splits_stop_before_any_work_and_can_be_derived(tmp_path: Path) -> None:
    root = trees.ffpp(tmp_path, splits=False)
    with pytest.raises(UsageError, match="--derive-splits"):
        read(root)
    items = read(root, ReadOptions(derive_splits=True))
    youtube = {i.video_id: i for i in items.values() if i.method == "youtube"}
    for item in items.values():
        if item.split_origin == "derived" and item.donor_video:
            assert {item.split} == {youtube[item.pair_id].split, youtube[item.donor_video].split}


def test_annotations_may_lie_elsewhere(tmp_path: Path) -> None:
    root = trees.ffpp(tmp_path / "raw")
    shutil.move(root / "splits", tmp_path / "lists")
    assert read(root, ReadOptions(annotations=tmp_path / "lists"))


def test_a_broken_split_list_is_named(tmp_path: Path) -> None:
    root = trees.ffpp(tmp_path)
    (root / "splits" / "val.json").write_text(json.dumps(["004"]))
    with pytest.raises(UsageError, match=r"val\.json"):
        read(root)


def test_a_clip_in_no_list_gets_no_split_and_a_note(tmp_path: Path) -> None:
    root = trees.ffpp(tmp_path)
    trees.put(root / "original_sequences/youtube/c23/videos/999.mp4")
    item = read(root)["ff++/youtube/c23/999"]
    assert item.split is Split.NONE
    assert item.label_note


def test_names_of_no_clip_are_unlisted(tmp_path: Path) -> None:
    root = trees.ffpp(tmp_path)
    trees.put(root / "manipulated_sequences/Deepfakes/c23/videos/preview.mp4")
    unlisted = [i for i in find_reader("ff++")(root, ReadOptions()).items() if isinstance(i, Unlisted)]
    assert [u.path.split("/")[-1] for u in unlisted] == ["preview.mp4"]


def test_frames_of_other_tools_are_precropped_images(tmp_path: Path) -> None:
    root = trees.ffpp(tmp_path)
    videos = root / "original_sequences/youtube/c23/videos"
    shutil.rmtree(videos)
    trees.put(videos.with_name("frames") / "000" / "0010.png", trees.PNG)
    trees.put(videos.with_name("frames") / "000" / "0009.png", trees.PNG)
    items = [i for i in find_reader("ff++")(root, ReadOptions()).items() if isinstance(i, Item)]
    frames = [i for i in items if i.method == "youtube"]
    assert [(i.video_id, i.frame_index, i.media.value) for i in frames] == [
        ("ff++/youtube/c23/000", 9, "precropped_image"),
        ("ff++/youtube/c23/000", 10, "precropped_image"),
    ]


def test_the_flat_mirror_is_read(tmp_path: Path) -> None:
    root = tmp_path / "FaceForensics++_C23"
    trees.put(root / "original" / "006.mp4")
    trees.put(root / "Deepfakes" / "006_007.mp4")
    trees.ffpp(tmp_path / "other")
    items = read(tmp_path / "FaceForensics++_C23", ReadOptions(annotations=tmp_path / "other"))
    assert set(items) == {"ff++/youtube/c23/006", "ff++/Deepfakes/c23/006_007"}


def test_check_counts_missing_unreadable_and_unlisted(tmp_path: Path) -> None:
    root = trees.ffpp(tmp_path)
    assert check(find_reader("ff++")(root, ReadOptions())).complete
    fakes = root / "manipulated_sequences/Deepfakes/c23/videos"
    (fakes / "000_001.mp4").unlink()
    (fakes / "001_000.mp4").write_bytes(b"")
    (fakes / "004_005.mp4").write_bytes(b"<html>not found</html>")
    report = check(find_reader("ff++")(root, ReadOptions()))
    train, val = report.counts["Deepfakes", "c23", "train"], report.counts["Deepfakes", "c23", "val"]
    assert (train.expected, train.found, train.missing) == (4, 3, ["000_001"])
    assert "empty file" in train.unreadable[0]
    assert "not a mp4" in val.unreadable[0]
    assert not report.complete


def test_check_counts_a_method_that_is_not_there_at_all(tmp_path: Path) -> None:
    root = trees.ffpp(tmp_path)
    shutil.rmtree(root / "manipulated_sequences" / "NeuralTextures")
    report = check(find_reader("ff++")(root, ReadOptions()))
    assert len(report.counts["NeuralTextures", "c23", "test"].missing) == 2
