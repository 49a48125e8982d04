"""CelebV-HQ: clips of the script and of mirrors, with the JSON and without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmidd.errors import LayoutError, UsageError
from mmidd.ingest.base import Item, ReadOptions, Unlisted, find_reader
from mmidd.ingest.check import check
from mmidd.ingest.splits import derived_split
from mmidd.schema import Label, Media
from tests.ingest.trees import MP4, PNG, ffpp, put
from tests.ingest.trees_evaluation import celebdf
from tests.ingest.trees_h import YOUTUBE, celebvhq


def listed(root: Path, **options: object) -> list[Item | Unlisted]:
    return list(find_reader("celebv-hq")(root, ReadOptions(**options)).listed())  # type: ignore[arg-type]


def items(root: Path, **options: object) -> list[Item]:
    return [item for item in listed(root, **options) if isinstance(item, Item)]


@pytest.mark.parametrize("info", [True, False])
@pytest.mark.parametrize(
    "folder",
    ["downloaded_celebvhq/processed", "processed", "Processed", "35666", "videos", "", "processed/processed"],
)
def test_clips_in_every_layout(folder: str, info: bool, tmp_path: Path) -> None:
    found = items(celebvhq(tmp_path, folder=folder, info=info))
    assert {i.video_id for i in found} == {f"celebv-hq/{clip}" for clip in YOUTUBE}
    for item in found:
        video = f"youtube/{YOUTUBE[item.video_id.removeprefix('celebv-hq/')]}"
        assert item.overlap_ids == (video,)
        assert (item.split, item.split_origin) == (derived_split(video), "derived")
        assert bool(item.label_note) is not info
        assert (item.media, item.label, item.identity_ids) == (Media.VIDEO, Label.REAL, ())


def test_clips_of_one_youtube_video_share_a_split(tmp_path: Path) -> None:
    for k in range(40):
        put(tmp_path / f"processed/{k // 2:011d}_{k % 2}.mp4")
    found = items(tmp_path)
    assert len({i.split for i in found}) > 1
    assert all(a.split is b.split for a, b in zip(found[::2], found[1::2], strict=True))


def test_frames_of_clips_have_the_clips_ids(tmp_path: Path) -> None:
    for clip in YOUTUBE:
        for k in (0, 12):
            put(tmp_path / f"frames/{clip}/{k:03d}.png", PNG)
    found = items(tmp_path)
    assert {i.video_id for i in found} == {f"celebv-hq/{clip}" for clip in YOUTUBE}
    assert {(i.media, i.frame_index) for i in found} == {(Media.PRECROPPED, 0), (Media.PRECROPPED, 12)}


def test_the_json_knows_ids_that_names_do_not_show(tmp_path: Path) -> None:
    put(tmp_path / "processed/clip.mp4")
    put(tmp_path / "celebvhq_info.json", json.dumps({"clips": {"clip": {"ytb_id": "abc"}}}).encode())
    assert [i.overlap_ids for i in items(tmp_path)] == [("youtube/abc",)]


def test_the_scripts_folder_is_known_whatever_its_clips_are_called(tmp_path: Path) -> None:
    put(tmp_path / "downloaded_celebvhq/processed/a_b_1.mp4")
    assert [i.overlap_ids for i in items(tmp_path)] == [("youtube/a_b",)]


def test_a_whole_copy_is_complete_in_every_split(tmp_path: Path) -> None:
    videos = {f"{k:011d}_0": {"ytb_id": f"{k:011d}"} for k in range(40)}
    for clip in videos:
        put(tmp_path / f"processed/{clip}.mp4")
    put(tmp_path / "celebvhq_info.json", json.dumps({"clips": videos}).encode())
    report = check(find_reader("celebv-hq")(tmp_path, ReadOptions()))
    assert len(report.counts) == 3
    assert all(c.expected == c.found and not c.missing for c in report.counts.values())


@pytest.mark.parametrize("place", ["above", "named", "beside"])
def test_the_json_may_lie_elsewhere(place: str, tmp_path: Path) -> None:
    celebvhq(tmp_path / "raw data")
    there = {"above": ".", "named": "lists", "beside": "raw data/CelebV-HQ"}[place]
    put(tmp_path / there / "CELEBVHQ_info.json", (tmp_path / "raw data/celebvhq_info.json").read_bytes())
    (tmp_path / "raw data/celebvhq_info.json").unlink()
    root = tmp_path / "raw data"
    if place == "above":
        root = root / "downloaded_celebvhq/processed"
        put(tmp_path / "raw data/celebvhq_info.json", (tmp_path / "CELEBVHQ_info.json").read_bytes())
    found = items(root, annotations=tmp_path / "lists" if place == "named" else None)
    assert [i.label_note for i in found] == [None] * 3


def test_whole_videos_alone_cannot_be_read(tmp_path: Path) -> None:
    celebvhq(tmp_path, folder="downloaded_celebvhq/raw")
    with pytest.raises(UsageError, match=r"duration and bbox.*download_and_process\.py") as caught:
        items(tmp_path)
    assert "\n" not in str(caught.value)


def test_whole_videos_beside_clips_are_ignored(tmp_path: Path) -> None:
    root = celebvhq(tmp_path)
    put(root / "downloaded_celebvhq/raw/M2Ohb0FAaJU.mp4")
    put(root / "downloaded_celebvhq/raw/M2Ohb0FAaJU_1.mp4")
    assert len(listed(root)) == 3


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"clips": {"a_0": {}}}', b'{"meta_info": {}}', b"\xff\xfe"]
)
def test_a_damaged_json_is_one_line(content: bytes, tmp_path: Path) -> None:
    put(celebvhq(tmp_path) / "celebvhq_info.json", content)
    with pytest.raises(UsageError, match="not the official JSON") as caught:
        items(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_and_strange_clips_are_reported(tmp_path: Path) -> None:
    root = celebvhq(tmp_path)
    processed = root / "downloaded_celebvhq/processed"
    (processed / "M2Ohb0FAaJU_1.mp4").unlink()
    put(processed / "holiday_1.mp4")
    put(processed / "AAAAAAAAAAA_7.mp4")
    put(root / "35666/M2Ohb0FAaJU_0.mp4")
    put(processed / "notes.txt", b"text")
    report = check(find_reader("celebv-hq")(root, ReadOptions()))
    assert [name for c in report.counts.values() for name in c.missing] == ["M2Ohb0FAaJU_1"]
    assert sum(c.expected or 0 for c in report.counts.values()) == 3
    assert [u.path for u in report.unlisted] == [
        f"downloaded_celebvhq/processed/{name}.mp4" for name in ("holiday_1", "M2Ohb0FAaJU_0")
    ]
    (stranger,) = [i for i in items(root) if i.video_id.endswith("AAAAAAAAAAA_7")]
    assert "celebvhq_info.json does not name it" in str(stranger.label_note)


def test_other_sources_do_not_match(tmp_path: Path) -> None:
    ffpp(tmp_path / "a", level="videos")
    celebdf(tmp_path / "b")
    put(tmp_path / "c/processed/1255229_1003254_A_001.mp4", MP4)
    with pytest.raises(LayoutError):
        items(tmp_path)


def test_it_has_one_quality(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave --compression out"):
        items(celebvhq(tmp_path), compressions=("c23",))
