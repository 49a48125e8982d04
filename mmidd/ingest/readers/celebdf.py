"""Celeb-DF version 1 and 2 (Li et al., CVPR 2020; github.com/yuezunli/celeb-deepfakeforensics).

A fake `id{a}_id{b}_{n}` is clip n of person a with the face of b; its original is `Celeb-real/id{a}_{n}`.
Both versions have one layout and share names, but are different releases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath

from mmidd.errors import UsageError
from mmidd.ingest.annotations import find_file
from mmidd.ingest.base import Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted, in_derived_split
from mmidd.ingest.tree import ClipFile, child, clip_files, clip_name, clips, level
from mmidd.schema import ForgeryType, Label, Split

FOLDERS = ("Celeb-real", "YouTube-real", "Celeb-synthesis")
FAKES = "Celeb-synthesis"
TEST_LIST = "List_of_testing_videos.txt"
_NAMES = {
    "Celeb-real": re.compile(r"(id\d+)_(\d+)"),
    "YouTube-real": re.compile(r"(\d+)"),
    FAKES: re.compile(r"(id\d+)_(id\d+)_(\d+)"),
}
_LINE = re.compile(r"([01])\s+(\S+)")


class CelebDF2(Reader):
    """All clips of Celeb-DF version 2 below a root."""

    info = SourceInfo(
        key="celebdf-v2",
        aliases=("celebdf", "celeb-df", "celeb-df-v2", "cdf2"),
        title="Celeb-DF version 2",
        role="eval",
        media="mp4 video, or folders of frames",
        types="REAL FS",
        size="590 + 300 real, 5,639 fake clips of about 13 s",
        layout=(
            "Celeb-real/[videos/]id0_0000.mp4, YouTube-real/[videos/]00000.mp4, "
            "Celeb-synthesis/[videos/]id0_id1_0000.mp4",
            TEST_LIST,
        ),
        annotations=f"{TEST_LIST}: flag and path, flag 1 is REAL",
        split_rule="listed clips are test, all others train; there is no val; without the list and with "
        "--derive-splits by a hash of the identities",
        label_rule="folder: Celeb-real and YouTube-real real, Celeb-synthesis FS; the list's flag must agree",
        licence="Terms to Use Celeb-DF",
        obtain="form on the Celeb-DF project page",
        gotchas=(
            "the flags of the test list are inverted against most conventions: 1 is real",
            "the test list has no header line, and is not identity-disjoint from the rest",
            "Celeb-real/id27_0005.mp4 has one frame",
            "versions 1 and 2 share names but are different releases: never mix them",
        ),
    )

    def __init__(self, root: Path, options: ReadOptions) -> None:
        super().__init__(root, options)
        if options.compressions:
            raise UsageError(f"{self.info.key} has one quality only; leave --compression out")
        if not (self._test or options.derive_splits):
            raise UsageError(
                f"no {TEST_LIST} under {self.root}; it is part of the download: copy it there, name its "
                "folder with --annotations, or pass --derive-splits"
            )

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """A folder with the fakes, or with both folders of reals."""
        return bool(child(folder, FAKES)) or all(child(folder, name) for name in FOLDERS[:2])

    @cached_property
    def _test(self) -> set[tuple[str, str]]:
        """(folder, clip) of the test list."""
        file = find_file(TEST_LIST, self.root, self.options.annotations)
        if file is None:
            return set()
        folders = {name.lower(): name for name in FOLDERS}
        listed = set()
        for line in filter(None, map(str.strip, file.read_text(encoding="utf-8-sig").splitlines())):
            match = _LINE.fullmatch(line)
            path = PurePosixPath(match[2].replace("\\", "/")) if match else PurePosixPath()
            folder = next((folders[part.lower()] for part in path.parts if part.lower() in folders), None)
            if match is None or folder is None:
                raise UsageError(f"{file}: cannot read line {line!r}; take the official file")
            if (match[1] == "0") != (folder == FAKES):
                raise UsageError(f"{file}: flag {match[1]} contradicts {path}; take the official file")
            listed.add((folder, path.stem))
        return listed

    @cached_property
    def _folders(self) -> dict[str, Path]:
        found = {name: child(self.root, name) for name in FOLDERS}
        return {name: level(path, "videos", "frames") for name, path in found.items() if path}

    @cached_property
    def _reals(self) -> set[str]:
        folder = self._folders.get("Celeb-real")
        return {clip_name(clip) for clip in clips(folder)} if folder else set()

    def items(self) -> Iterator[Item | Unlisted]:
        """Every clip, reals first."""
        for name, folder in self._folders.items():
            for clip in islice(clips(folder), self.options.limit_videos):
                for file in clip_files(clip):
                    yield self._item(name, clip_name(clip), file)

    def _item(self, folder: str, stem: str, file: ClipFile) -> Item | Unlisted:
        path = file.path.relative_to(self.root).as_posix()
        match = _NAMES[folder].fullmatch(stem)
        if match is None:
            return Unlisted(path, f"{stem} is not a clip name of {folder}")
        people = () if folder == "YouTube-real" else match.groups()[:-1]
        item = Item(
            path=path,
            media=file.media,
            label=Label.FAKE if folder == FAKES else Label.REAL,
            type=ForgeryType.FS if folder == FAKES else ForgeryType.REAL,
            method="Celeb-DF" if folder == FAKES else folder,
            video_id=self._video(folder, stem),
            pair_id=self._video(folder, stem),
            identity_ids=tuple(f"{self.info.key}/{person}" for person in people),
            overlap_ids=tuple(f"celebdf/{person}" for person in people),
            licence=self.info.licence,
            frame_index=file.frame,
        )
        item = self._paired(item, match) if folder == FAKES else item
        return self._placed(item, (folder, stem))

    def _video(self, folder: str, stem: str) -> str:
        return f"{self.info.key}/{folder}/{stem}"

    def _paired(self, item: Item, match: re.Match[str]) -> Item:
        original = f"{match[1]}_{match[3]}"
        there = original in self._reals
        note = None if there or not self._reals else f"its original {original} is not among the reals"
        video = self._video("Celeb-real", original)
        return replace(item, pair_id=video, target_video=video, pair_confidence="derived", label_note=note)

    def _placed(self, item: Item, clip: tuple[str, str]) -> Item:
        if not self._test:
            return in_derived_split(item, self.options.seed)
        split = Split.TEST if clip in self._test else Split.TRAIN
        return replace(item, split=split, split_origin="official")

    def expected(self) -> Iterator[Expected]:
        """The clips of the test list."""
        for folder, stem in sorted(self._test):
            yield Expected("Celeb-DF" if folder == FAKES else folder, Split.TEST, None, stem)


class CelebDF1(CelebDF2):
    """All clips of Celeb-DF version 1 below a root."""

    info = replace(
        CelebDF2.info,
        key="celebdf-v1",
        aliases=("celeb-df-v1", "cdf1"),
        title="Celeb-DF version 1",
        size="408 real, 795 fake clips",
    )
