"""Celeb-DF, UADFV and DeepFakeDetection: labels, splits, pairs and layout variants."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmidd.errors import UsageError
from mmidd.ingest.base import Expected, Item, ReadOptions, Unlisted, find_reader
from mmidd.ingest.check import check
from mmidd.schema import ForgeryType, Label, Media, Split
from tests.ingest import trees
from tests.ingest.trees_evaluation import CELEBDF, TEST_LINES, celebdf, dfd, uadfv


def items(key: str, root: Path, **options: object) -> dict[str, Item]:
    found = find_reader(key)(root, ReadOptions(**options)).listed()  # type: ignore[arg-type]
    return {item.path: item for item in found if isinstance(item, Item)}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_celebdf_takes_labels_from_folders_and_test_from_the_list(version: str, tmp_path: Path) -> None:
    found = items(f"celebdf-{version}", celebdf(tmp_path))
    assert len(found) == sum(map(len, CELEBDF.values()))
    test = {line.split()[1] for line in TEST_LINES}
    for path, item in found.items():
        fake = path.startswith("Celeb-synthesis")
        assert (item.label, item.type) == (
            (Label.FAKE, ForgeryType.FS) if fake else (Label.REAL, ForgeryType.REAL)
        )
        assert item.split is (Split.TEST if path in test else Split.TRAIN)
        assert item.split_origin == "official"
        assert item.video_id.startswith(f"celebdf-{version}/")
    swap = found["Celeb-synthesis/id0_id1_0001.mp4"]
    assert swap.pair_id == found["Celeb-real/id0_0001.mp4"].video_id
    assert swap.identity_ids == (f"celebdf-{version}/id0", f"celebdf-{version}/id1")
    assert swap.overlap_ids == ("celebdf/id0", "celebdf/id1")
    assert found["YouTube-real/00000.mp4"].identity_ids == ()


@pytest.mark.parametrize(
    ("level", "frames", "youtube"),
    [("videos", False, "Youtube-real"), ("frames", True, "YouTube-real"), ("", True, "youtube-real")],
)
def test_celebdf_in_the_layouts_of_other_tools(
    level: str, frames: bool, youtube: str, tmp_path: Path
) -> None:
    plain = items("celebdf-v2", celebdf(tmp_path / "plain"))
    other = items("celebdf-v2", celebdf(tmp_path / "other", level=level, frames=frames, youtube=youtube))
    rules = {(i.video_id, i.pair_id, i.split, i.label, i.method) for i in plain.values()}
    assert {(i.video_id, i.pair_id, i.split, i.label, i.method) for i in other.values()} == rules
    assert {i.media for i in other.values()} == {Media.PRECROPPED if frames else Media.VIDEO}
    assert {i.frame_index for i in other.values()} == ({0, 12} if frames else {None})


def test_a_missing_original_is_noted(tmp_path: Path) -> None:
    celebdf(tmp_path)
    (tmp_path / "Celeb-real/id0_0001.mp4").unlink()
    found = items("celebdf-v2", tmp_path)
    assert "id0_0001" in str(found["Celeb-synthesis/id0_id1_0001.mp4"].label_note)
    assert found["Celeb-synthesis/id0_id1_0000.mp4"].label_note is None


def test_celebdf_asks_for_its_list_or_derives_by_identity(tmp_path: Path) -> None:
    celebdf(tmp_path)
    (tmp_path / "List_of_testing_videos.txt").unlink()
    with pytest.raises(UsageError, match=r"List_of_testing_videos\.txt.*--annotations"):
        items("celebdf-v2", tmp_path)
    derived = items("celebdf-v2", tmp_path, derive_splits=True)
    assert {item.split_origin for item in derived.values()} == {"derived"}
    of_id0 = {i.split for i in derived.values() if i.identity_ids == ("celebdf-v2/id0",)}
    assert len(of_id0) == 1


def test_the_list_may_lie_elsewhere_and_in_another_case(tmp_path: Path) -> None:
    celebdf(tmp_path / "raw")
    (tmp_path / "lists").mkdir()
    (tmp_path / "raw/List_of_testing_videos.txt").rename(tmp_path / "lists/list_of_testing_videos.TXT")
    found = items("celebdf-v2", tmp_path / "raw", annotations=tmp_path / "lists")
    assert sum(item.split is Split.TEST for item in found.values()) == 3


@pytest.mark.parametrize("line", ["0 YouTube-real/00170.mp4", "YouTube-real/00170.mp4", "1 elsewhere/a.mp4"])
def test_a_list_that_contradicts_the_folders_is_refused(line: str, tmp_path: Path) -> None:
    celebdf(tmp_path)
    (tmp_path / "List_of_testing_videos.txt").write_text(line)
    with pytest.raises(UsageError, match="take the official file"):
        items("celebdf-v2", tmp_path)


def test_celebdf_expects_the_test_clips_and_reports_strangers(tmp_path: Path) -> None:
    celebdf(tmp_path)
    (tmp_path / "Celeb-real/id1_0007.mp4").unlink()
    trees.put(tmp_path / "Celeb-real/holiday.mp4")
    report = check(find_reader("celebdf-v2")(tmp_path, ReadOptions()))
    assert report.counts["Celeb-real", "", "test"].missing == ["id1_0007"]
    assert [u.path for u in report.unlisted] == ["Celeb-real/holiday.mp4"]


@pytest.mark.parametrize("level", ["", "videos"])
def test_uadfv_pairs_by_number_and_is_all_test(level: str, tmp_path: Path) -> None:
    found = list(items("uadfv", uadfv(tmp_path, level=level)).values())
    assert {(i.video_id, i.pair_id, i.split) for i in found} == {
        (f"uadfv/{kind}/{k}", f"uadfv/real/{k}", Split.TEST)
        for kind in ("real", "fake")
        for k in ("0000", "0048")
    }
    assert sum(1 for _ in find_reader("uadfv")(tmp_path, ReadOptions()).expected()) == 98


def test_dfd_reads_its_part_of_the_tree_only(tmp_path: Path) -> None:
    alone = items("dfd", dfd(tmp_path / "alone"))
    whole = items("dfd", trees.ffpp(tmp_path / "whole"))
    assert {i.video_id for i in whole.values()} == {i.video_id for i in alone.values()}
    (real,) = [i for i in alone.values() if i.label is Label.REAL]
    (fake,) = [i for i in alone.values() if i.label is Label.FAKE]
    assert fake.pair_id == real.video_id == "dfd/actors/c23/01__exit_phone_room"
    assert {real.split, fake.split} == {Split.TEST}
    assert fake.mask is not None
    assert fake.overlap_ids == ("ff++/actor01", "ff++/actor02")
    reader = find_reader("dfd")(tmp_path / "whole", ReadOptions())
    assert not [e for e in reader.expected() if isinstance(e, Expected)]
    assert not [i for i in reader.items() if isinstance(i, Unlisted)]
