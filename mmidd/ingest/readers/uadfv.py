"""UADFV (Yang, Li and Lyu, ICASSP 2019): 49 real clips and their FakeApp swaps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from mmidd.ingest.base import Expected, Item, Reader, SourceInfo, Unlisted
from mmidd.ingest.tree import ClipFile, child, clip_files, clip_name, clips, level
from mmidd.schema import ForgeryType, Label, Split

_STEM = {"real": re.compile(r"(\d{4})"), "fake": re.compile(r"(\d{4})_fake", re.IGNORECASE)}
_COUNT = 49


class Uadfv(Reader):
    """All clips of UADFV below a root."""

    info = SourceInfo(
        key="uadfv",
        aliases=(),
        title="UADFV",
        role="eval",
        media="mp4 video, or folders of frames",
        types="REAL FS",
        size="49 real, 49 fake clips of about 11 s",
        layout=("real/[videos/]0000.mp4 and fake/[videos/]0000_fake.mp4",),
        annotations="none",
        split_rule="all test, by protocol",
        label_rule="folder: real is real, fake is FS (FakeApp)",
        licence="form of the authors",
        obtain="form of the authors (SUNY Albany)",
        gotchas=(
            "49 clips of each class: report the AUC with its interval",
            "some copies hold frames only",
            "DF40's DeepFaceLab set takes its reals from here",
        ),
    )

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """A folder `real` of clips 0000 or a folder `fake` of clips 0000_fake."""
        return any(_holds(folder, name) for name in _STEM)

    def items(self) -> Iterator[Item | Unlisted]:
        """Every clip, reals first."""
        for name in _STEM:
            found = child(self.root, name)
            for clip in islice(_clips(found) if found else [], self.options.limit_videos):
                for file in clip_files(clip):
                    yield self._item(name, clip_name(clip), file)

    def _item(self, name: str, stem: str, file: ClipFile) -> Item | Unlisted:
        path = file.path.relative_to(self.root).as_posix()
        match = _STEM[name].fullmatch(stem)
        if match is None:
            return Unlisted(path, f"{stem} is not a clip name of {name}")
        fake = name == "fake"
        original = f"uadfv/real/{match[1]}"
        return Item(
            path=path,
            media=file.media,
            label=Label.FAKE if fake else Label.REAL,
            type=ForgeryType.FS if fake else ForgeryType.REAL,
            method="FakeApp" if fake else "real",
            video_id=f"uadfv/{name}/{match[1]}",
            pair_id=original,
            pair_confidence="declared" if fake else None,
            target_video=original if fake else None,
            overlap_ids=(f"uadfv/{match[1]}",),
            split=Split.TEST,
            split_origin="official",
            licence=self.info.licence,
            frame_index=file.frame,
        )

    def expected(self) -> Iterator[Expected]:
        """Clips 0000 to 0048 of both classes."""
        for k in range(_COUNT):
            yield Expected("real", Split.TEST, None, f"{k:04d}")
            yield Expected("FakeApp", Split.TEST, None, f"{k:04d}_fake")


def _clips(folder: Path) -> list[Path]:
    return clips(level(folder, "videos", "frames"))


def _holds(folder: Path, name: str) -> bool:
    found = child(folder, name)
    return found is not None and any(_STEM[name].fullmatch(clip_name(clip)) for clip in _clips(found))
