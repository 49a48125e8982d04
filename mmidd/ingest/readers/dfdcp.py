"""DFDC preview (Dolhansky et al., arXiv 1910.08854): actors, two face-swap methods.

A fake `{swapped}_{target}_{X}_{nnn}` is clip `{target}_{X}_{nnn}` with the face of another actor.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath

from mmidd.errors import UsageError
from mmidd.ingest.annotations import find_file
from mmidd.ingest.base import Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted, in_derived_split
from mmidd.ingest.splits import TRAIN_VAL
from mmidd.ingest.tree import VIDEO_SUFFIXES, ClipFile, child, clip_files, clip_name, media_files, subfolders
from mmidd.schema import ForgeryType, Label, Media, Split

FOLDERS = ("original_videos", "method_A", "method_B")
_JSON = "dataset.json"
_BESIDE = frozenset({"landmarks", "masks"})
_FAKE = re.compile(r"(\d+)_(\d+_[A-Z]+_\d+)")


@dataclass(frozen=True)
class _Entry:
    """What `dataset.json` says of one clip."""

    method: str
    label: Label
    is_test: bool
    target: str
    swapped: str | None


class DfdcPreview(Reader):
    """All clips of the DFDC preview set below a root."""

    info = SourceInfo(
        key="dfdcp",
        aliases=("dfdc-preview", "dfdc_preview"),
        title="DFDC preview",
        role="train",
        media="mp4 video, or folders of frames",
        types="REAL FS",
        size="1,131 real, 4,119 fake clips",
        layout=(
            "original_videos/643049/643049_A_001.mp4, "
            "method_A/1003254/1003254_A/1255229_1003254_A_001.mp4 and method_B/...; or "
            "original_videos/{videos,frames}/643049_A_001 in copies",
            _JSON,
        ),
        annotations=f"{_JSON}: label, set, target_id and swapped_id of every clip",
        split_rule="`set` test is test; of train, val is cut by a hash of the actors; a clip whose two "
        "actors fall into train and val has no split",
        label_rule="`label` of the JSON; method_A and method_B are both FS",
        licence="DFDC agreement",
        obtain="DFDC page of Meta AI",
        gotchas=(
            "some method_B files are missing, and the JSON is incomplete in some copies",
            "keys of the JSON may lack .mp4 and never have the videos/ level of copies",
            "an actor is a target in one clip and gives the face in another",
            "some test clips are degraded on purpose (`augmentations`)",
        ),
    )

    def __init__(self, root: Path, options: ReadOptions) -> None:
        super().__init__(root, options)
        if options.compressions:
            raise UsageError("dfdcp has one quality only; leave --compression out")

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """A folder with one of the methods, or with the originals and the JSON."""
        fakes = any(child(folder, name) for name in FOLDERS[1:])
        return fakes or bool(child(folder, FOLDERS[0]) and (folder / _JSON).is_file())

    @cached_property
    def _entries(self) -> dict[tuple[str, str], _Entry]:
        file = find_file(_JSON, self.root, self.options.annotations)
        if file is None:
            raise UsageError(
                f"no {_JSON} under {self.root}; it is part of the download: copy it there or name its "
                "folder with --annotations"
            )
        try:
            rows = json.loads(file.read_text(encoding="utf-8-sig"))
            return {_key(path): _entry(path, row) for path, row in rows.items()}
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise UsageError(f"{file} is not the official JSON ({error}); download it again") from error

    @cached_property
    def _clips(self) -> dict[str, list[Path]]:
        found = {name: child(self.root, name) for name in FOLDERS}
        return {name: list(_walk(path)) for name, path in found.items() if path}

    @cached_property
    def _reals(self) -> set[str]:
        return {clip_name(clip) for clip in self._clips.get(FOLDERS[0], [])}

    def items(self) -> Iterator[Item | Unlisted]:
        """Every clip, originals first."""
        for method, clips in self._clips.items():
            for clip in islice(clips, self.options.limit_videos):
                for file in clip_files(clip):
                    yield self._item(method, clip_name(clip), file)

    def _item(self, method: str, stem: str, file: ClipFile) -> Item | Unlisted:
        path = file.path.relative_to(self.root).as_posix()
        entry = self._entries.get((method, stem))
        if entry is None:
            return Unlisted(path, f"{_JSON} does not name {stem} of {method}")
        item = self._described(method, stem, entry)
        return replace(item, path=path, media=file.media, frame_index=file.frame)

    def _described(self, method: str, stem: str, entry: _Entry) -> Item:
        fake = entry.label is Label.FAKE
        people = (entry.target, entry.swapped) if entry.swapped else (entry.target,)
        item = Item(
            path=stem,
            media=Media.VIDEO,
            label=entry.label,
            type=ForgeryType.FS if fake else ForgeryType.REAL,
            method=method,
            video_id=f"dfdcp/{method}/{stem}",
            pair_id=f"dfdcp/{method}/{stem}",
            identity_ids=tuple(f"dfdcp/{person}" for person in people),
            licence=self.info.licence,
        )
        item = self._paired(item, stem) if fake else item
        if entry.is_test:
            return replace(item, split=Split.TEST, split_origin="official")
        return in_derived_split(item, self.options.seed, TRAIN_VAL)

    def _paired(self, item: Item, stem: str) -> Item:
        match = _FAKE.fullmatch(stem)
        if match is None or match[2] not in self._reals:
            return replace(item, label_note="its original is not among the reals")
        video = f"dfdcp/{FOLDERS[0]}/{match[2]}"
        return replace(item, pair_id=video, target_video=video, pair_confidence="derived")

    def expected(self) -> Iterator[Expected]:
        """The clips of the JSON."""
        for (method, stem), entry in self._entries.items():
            yield Expected(method, self._described(method, stem, entry).split, None, stem)


def _key(path: str) -> tuple[str, str]:
    parts = PurePosixPath(path)
    method = {name.lower(): name for name in FOLDERS}[parts.parts[0].lower()]
    return method, parts.name.removesuffix(".mp4")


def _entry(path: str, row: dict[str, str | None]) -> _Entry:
    swapped = row.get("swapped_id")
    return _Entry(
        _key(path)[0],
        Label(str(row["label"])),
        {"train": False, "test": True}[str(row["set"])],
        str(row["target_id"]),
        str(swapped) if swapped else None,
    )


def _walk(folder: Path) -> Iterator[Path]:
    """Clips at any depth: video files, and folders that hold images and no folders."""
    yield from media_files(folder, VIDEO_SUFFIXES)
    inner = [sub for sub in subfolders(folder) if sub.name.lower() not in _BESIDE]
    for sub in inner:
        yield from _walk(sub)
    if not inner and next(clip_files(folder), None):
        yield folder
