"""Derived splits and the sampling of videos that are shipped as frames."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmidd.ingest.base import Item, Reader, in_derived_split
from mmidd.ingest.splits import derived_split
from mmidd.ingest.stage import sampled
from mmidd.ingest.tree import clip_files, clip_name, clips, frame_number, level
from mmidd.schema import ForgeryType, Label, Media, Split
from tests.ingest.trees import PNG, put

ITEM = Item("a.png", Media.IMAGE, Label.FAKE, ForgeryType.FS, "m", "s/m/a", "s/real/a")


def people(*names: str) -> Item:
    return replace(ITEM, identity_ids=names)


@given(st.text(min_size=1), st.integers(0, 99))
def test_a_group_has_one_split_whatever_else_there_is(name: str, seed: int) -> None:
    assert (
        in_derived_split(people(name), seed).split is in_derived_split(replace(ITEM, group=name), seed).split
    )
    assert in_derived_split(people(name), seed).split is derived_split(name, seed)


def test_shares_and_seeds_of_derived_splits() -> None:
    counts = Counter(derived_split(f"person {k}") for k in range(4000))
    assert counts[Split.TRAIN] / 4000 == pytest.approx(0.72, abs=0.03)
    assert counts[Split.VAL] / 4000 == pytest.approx(0.14, abs=0.03)
    assert any(derived_split(f"person {k}", 0) is not derived_split(f"person {k}", 1) for k in range(20))


def test_people_of_different_splits_leave_no_split() -> None:
    names = [f"p{k}" for k in range(40)]
    for a in names:
        for b in names:
            item = in_derived_split(people(a, b), 0)
            agree = derived_split(a) is derived_split(b)
            assert item.split is (derived_split(a) if agree else Split.NONE)
            assert bool(item.label_note) is not agree


def test_without_people_the_pair_decides() -> None:
    assert in_derived_split(ITEM, 0).split is derived_split("s/real/a")


def test_frames_of_a_video_are_sampled_uniformly_and_stills_are_all_kept() -> None:
    frames = [replace(ITEM, path=f"v/{k}.png", video_id="v", frame_index=k) for k in range(10)]
    stills = [replace(ITEM, path=f"{k}.png", video_id=f"still {k}") for k in range(5)]
    kept = [item.path for item in sampled([*stills, *frames], 3) if isinstance(item, Item)]
    assert kept[:5] == [item.path for item in stills]
    assert kept[5:8] == ["v/0.png", "v/4.png", "v/9.png"]


def test_clips_are_files_or_folders_of_frames(tmp_path: Path) -> None:
    put(tmp_path / "Videos" / "b 10.mp4")
    put(tmp_path / "Videos" / "b 9.mp4")
    put(tmp_path / "frames" / "a" / "frame_0012.png", PNG)
    put(tmp_path / "frames" / "a" / "frame_0002.png", PNG)
    assert [clip_name(clip) for clip in clips(level(tmp_path, "videos", "frames"))] == ["b 9", "b 10"]
    (clip,) = clips(tmp_path / "frames")
    assert [(file.frame, file.media) for file in clip_files(clip)] == [
        (2, Media.PRECROPPED),
        (12, Media.PRECROPPED),
    ]
    assert level(tmp_path, "nothing") == tmp_path
    assert frame_number(Path("plain.png")) == 0


def test_every_reader_without_an_official_split_says_how_it_derives_one() -> None:
    for reader in Reader.registry.values():
        assert not reader.derives_splits or "hash" in reader.info.split_rule
