"""CelebV-HQ (Zhu et al., ECCV 2022; github.com/CelebV-HQ/CelebV-HQ): clips of celebrities on YouTube.

Released are `celebvhq_info.json` and a script; the script or a mirror gives the clips `<ytb_id>_<n>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path

from mmidd.errors import UsageError
from mmidd.ingest.annotations import find_file
from mmidd.ingest.base import SEARCH_DEPTH, Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted
from mmidd.ingest.splits import derived_split
from mmidd.ingest.tree import (
    VIDEO_SUFFIXES,
    ClipFile,
    child,
    clip_files,
    clip_name,
    folders,
    media_files,
    subfolders,
)
from mmidd.schema import ForgeryType, Label

INFO = "celebvhq_info.json"
_DOWNLOADED = "downloaded_celebvhq"
_FOLDERS = frozenset({"processed", "35666"})
_RAW = "raw"
_CLIP = re.compile(r"([\w-]{11})_\d+", re.ASCII)
_LOOSE = re.compile(r"(.+)_\d+")


class CelebVHQ(Reader):
    """All clips of CelebV-HQ below a root."""

    info = SourceInfo(
        key="celebv-hq",
        aliases=("celebvhq", "celebv_hq"),
        title="CelebV-HQ",
        role="train",
        media="mp4 video, or folders of frames",
        types="REAL",
        size="35,666 clips of 3 to 20 s, at least 512 px",
        layout=(
            "[downloaded_celebvhq/]processed/M2Ohb0FAaJU_1.mp4; in mirrors 35666/ or videos/ or flat",
            f"{INFO} there, above, or under --annotations",
        ),
        annotations=f"{INFO} (clips, YouTube ids); optional",
        split_rule="none official; by a hash of the YouTube id",
        label_rule="all real",
        licence="non-commercial research",
        obtain=f"{INFO} and download_and_process.py of the CelebV-HQ repository",
        gotchas=(
            "the call that cuts the clips is commented out in the script: raw/ alone cannot be read",
            "many videos are gone from YouTube: a copy is rarely complete",
            "a clip may hold a scene cut; file names may start with '-'",
            "identities are not released: one person may be in several YouTube videos",
        ),
    )
    derives_splits = True

    def __init__(self, root: Path, options: ReadOptions) -> None:
        super().__init__(root, options)
        if options.compressions:
            raise UsageError("celebv-hq has one quality only; leave --compression out")
        if not self._trees:
            raise UsageError(
                f"no clips under {self.root}, whole videos only: enable the call that cuts them (by duration "
                "and bbox) in download_and_process.py, run it, and give the folder with processed/"
            )

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """A folder with the script's folders, with clips named by YouTube, or with the JSON and videos."""
        downloaded = child(folder, _DOWNLOADED) or folder
        if downloaded.name.lower() == _DOWNLOADED and _has_video(downloaded):
            return True
        inner = (folder, *(child(folder, name) for name in (*sorted(_FOLDERS), "videos", "frames")))
        if any(place and _holds_clips(place) for place in inner):
            return True
        names = (entry.name.lower() for entry in _entries(folder))
        return INFO in names and _has_video(folder)

    @cached_property
    def _videos(self) -> dict[str, str]:
        """Clip -> YouTube id, as the JSON says."""
        places = (self.root, self.root.absolute().parent)
        found = (find_file(INFO, place, self.options.annotations, ("CelebV-HQ",)) for place in places)
        file = next(filter(None, found), None)
        if file is None:
            return {}
        try:
            clips = json.loads(file.read_text(encoding="utf-8-sig"))["clips"]
            return {clip: str(entry["ytb_id"]) for clip, entry in clips.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{file} is not the official JSON ({error}); download it again") from error

    @cached_property
    def _trees(self) -> list[Path]:
        """The folders of clips below the root; `raw` holds whole videos."""
        found = (f for f in folders(self.root, SEARCH_DEPTH) if f.name.lower() != _RAW)
        return [
            f for f in found if _holds_clips(f, self._videos) or (f.name.lower() in _FOLDERS and _names(f))
        ]

    def items(self) -> Iterator[Item | Unlisted]:
        """Every clip by name."""
        seen: set[str] = set()
        clips = (clip for tree in self._trees for clip in _clips(tree))
        for clip in islice(clips, self.options.limit_videos):
            name = clip_name(clip)
            again = name in seen
            seen.add(name)
            for file in clip_files(clip):
                path = file.path.relative_to(self.root).as_posix()
                yield (
                    Unlisted(path, f"a second file of clip {name}") if again else self._item(path, name, file)
                )

    def _item(self, path: str, clip: str, file: ClipFile) -> Item | Unlisted:
        match = (_CLIP if self._videos else _LOOSE).fullmatch(clip)
        video = self._videos.get(clip) or (match and match[1])
        if video is None:
            return Unlisted(path, f"{clip} is not a clip name <YouTube id>_<number>")
        return Item(
            path=path,
            media=file.media,
            label=Label.REAL,
            type=ForgeryType.REAL,
            method="celebv-hq",
            video_id=f"celebv-hq/{clip}",
            pair_id=f"celebv-hq/{clip}",
            overlap_ids=(f"youtube/{video}",),
            group=f"youtube/{video}",
            label_note=self._note(clip),
            licence=self.info.licence,
            frame_index=file.frame,
        )

    def _note(self, clip: str) -> str | None:
        if clip in self._videos:
            return None
        why = f"{INFO} does not name it" if self._videos else f"no {INFO}"
        return f"YouTube id taken from the file name: {why}"

    def expected(self) -> Iterator[Expected]:
        """The clips of the JSON; nothing without it."""
        for clip, video in self._videos.items():
            yield Expected("celebv-hq", derived_split(f"youtube/{video}", self.options.seed), None, clip)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except PermissionError:
        return []


def _is_frames(folder: Path) -> bool:
    return folder.name.lower() == "frames"


def _clips(folder: Path) -> list[Path]:
    """Video files, or below `frames` the folders of frames."""
    return media_files(folder, VIDEO_SUFFIXES) or (subfolders(folder) if _is_frames(folder) else [])


def _names(folder: Path) -> list[str]:
    """What `_clips` would name, in any order; millions of files need no sorting here."""
    entries = [entry for entry in _entries(folder) if not entry.name.startswith(".")]
    videos = [entry.stem for entry in entries if entry.suffix.lower() in VIDEO_SUFFIXES]
    return videos or [entry.name for entry in entries if _is_frames(folder) and entry.is_dir()]


def _holds_clips(folder: Path, known: Container[str] = ()) -> bool:
    """Whether at least half of what is there has a clip's name."""
    names = _names(folder)
    return 0 < len(names) <= 2 * sum(name in known or bool(_CLIP.fullmatch(name)) for name in names)


def _has_video(folder: Path) -> bool:
    """Whether a video lies in a folder or at most two levels below."""
    return any(
        entry.suffix.lower() in VIDEO_SUFFIXES for place in folders(folder, 2) for entry in _entries(place)
    )
