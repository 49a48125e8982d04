"""DFDC (Dolhansky et al., arXiv 2006.07397): fifty parts of training clips, validation and test."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mmidd.errors import UsageError
from mmidd.ingest.base import Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted
from mmidd.ingest.limit import Limit
from mmidd.ingest.splits import TRAIN_VAL, derived_split
from mmidd.ingest.tree import ClipFile, child, clip_files, clip_name, clips, level, subfolders
from mmidd.schema import ForgeryType, Label, Split

_PART = re.compile(r"(?:dfdc_)?train_part_(\d+)", re.IGNORECASE)
_SPLITS = {"validation": Split.VAL, "test": Split.TEST}


@dataclass(frozen=True)
class _Folder:
    """A training part, or the validation or test folder; `name` is the same for every spelling."""

    name: str
    path: Path
    split: Split
    origin: str


@dataclass(frozen=True)
class _Entry:
    """What the annotation says of one clip; `original` is a clip of the same folder."""

    label: Label
    original: str | None = None


class Dfdc(Reader):
    """All clips of DFDC below a root."""

    info = SourceInfo(
        key="dfdc",
        aliases=("dfdc-full",),
        title="Deepfake Detection Challenge",
        role="eval",
        media="mp4 video, or folders of frames",
        types="REAL FS",
        size="about 119,154 clips in 50 parts, validation 4,000, test 5,000; 10 s each",
        layout=(
            "dfdc_train_part_N/[dfdc_train_part_N/]{metadata.json,*.mp4}",
            "validation/{labels.csv,*.mp4}, test/{labels.csv,[videos/]*.mp4}",
        ),
        annotations="metadata.json of every part (label, original), labels.csv of validation and test "
        "(0 real, 1 fake), each in its folder or in --annotations FOLDER/{validation,test}/",
        split_rule="by folder: parts are train, validation is val, test is test; with --derive-splits val is "
        "cut from train by whole parts instead, where originals and their fakes lie together",
        label_rule="metadata.json or labels.csv; the method of a fake is not told: FS by default",
        licence="Kaggle competition rules, DFDC agreement",
        obtain="Kaggle competition page, or the DFDC page of Meta AI",
        gotchas=(
            "eight methods are mixed, some like reenactment, some change only the audio: FS is a default",
            "several people are in many clips, of whom one is forged; there are no masks",
            "validation and test name no originals; no part names actors",
        ),
    )

    def __init__(self, root: Path, options: ReadOptions) -> None:
        super().__init__(root, options)
        if options.compressions:
            raise UsageError("dfdc has one quality only; leave --compression out")
        for folder in self._folders:
            self._entries(folder)

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """A folder of training parts, or with a labelled validation or test folder."""
        if any(_PART.fullmatch(sub.name) and not _PART.fullmatch(folder.name) for sub in subfolders(folder)):
            return True
        return any((sub := child(folder, name)) and (sub / "labels.csv").is_file() for name in _SPLITS)

    @cached_property
    def _folders(self) -> list[_Folder]:
        parts = [(int(m[1]), sub) for sub in subfolders(self.root) if (m := _PART.fullmatch(sub.name))]
        found = [self._part(number, path) for number, path in sorted(parts)]
        for name, split in _SPLITS.items():
            if path := child(self.root, name):
                found.append(_Folder(name, path, split, "official"))
        return found

    def _part(self, number: int, path: Path) -> _Folder:
        name, inner = f"part{number}", next((s for s in subfolders(path) if _PART.fullmatch(s.name)), path)
        if self.options.derive_splits:
            split = derived_split(f"dfdc/{name}", self.options.seed, TRAIN_VAL)
            return _Folder(name, inner, split, "derived")
        return _Folder(name, inner, Split.TRAIN, "official")

    def _entries(self, folder: _Folder) -> dict[str, _Entry]:
        if folder.name not in self._annotation:
            self._annotation[folder.name] = self._read(folder)
        return self._annotation[folder.name]

    @cached_property
    def _annotation(self) -> dict[str, dict[str, _Entry]]:
        return {}

    def _read(self, folder: _Folder) -> dict[str, _Entry]:
        name = "labels.csv" if folder.name in _SPLITS else "metadata.json"
        named = self.options.annotations
        places = [folder.path, *([named / folder.path.name] if named else [])]
        file = next((path for place in places if (path := place / name).is_file()), None)
        if file is None:
            raise UsageError(
                f"no {name} in {folder.path}; it is part of the download: copy it there, or give "
                f"--annotations a folder with {folder.path.name}/{name}"
            )
        try:
            return _labels(file) if name == "labels.csv" else _metadata(file)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UsageError(f"{file} is not the official file ({error}); download it again") from error

    def items(self) -> Iterator[Item | Unlisted]:
        """Every clip, part by part, then validation and test; `limit_videos` of each label."""
        limit = Limit(self.options.limit_videos)
        for folder in self._folders:
            yield from self._folder_items(folder, limit)

    def _folder_items(self, folder: _Folder, limit: Limit) -> Iterator[Item | Unlisted]:
        found = clips(level(folder.path, "videos", "frames"))
        entries = self._entries(folder)
        for label in Label:
            own = [clip for clip in found if (e := entries.get(clip_name(clip))) and e.label is label]
            for clip in limit.take(label.value, own):
                yield from (self._item(folder, clip_name(clip), file) for file in clip_files(clip))
        for clip in found:
            if clip_name(clip) not in entries and next(clip_files(clip), None):
                why = f"the annotation of {folder.path.name} does not name it"
                yield Unlisted(clip.relative_to(self.root).as_posix(), why)

    def _item(self, folder: _Folder, stem: str, file: ClipFile) -> Item:
        entry = self._entries(folder)[stem]
        fake = entry.label is Label.FAKE
        item = Item(
            path=file.path.relative_to(self.root).as_posix(),
            media=file.media,
            label=entry.label,
            type=ForgeryType.FS if fake else ForgeryType.REAL,
            method="DFDC" if fake else "real",
            video_id=f"dfdc/{folder.name}/{stem}",
            pair_id=f"dfdc/{folder.name}/{stem}",
            split=folder.split,
            split_origin=folder.origin,
            label_note="its method is not told; FS by default" if fake else None,
            licence=self.info.licence,
            frame_index=file.frame,
        )
        return self._paired(item, folder, entry.original) if fake else item

    def _paired(self, item: Item, folder: _Folder, original: str | None) -> Item:
        if original is None:
            return item
        if original not in self._entries(folder):
            return replace(item, label_note=f"{item.label_note}; its original is in another part")
        video = f"dfdc/{folder.name}/{original}"
        return replace(item, pair_id=video, target_video=video, pair_confidence="declared")

    def expected(self) -> Iterator[Expected]:
        """The clips of every annotation file."""
        for folder in self._folders:
            for stem, entry in self._entries(folder).items():
                method = "DFDC" if entry.label is Label.FAKE else "real"
                yield Expected(method, folder.split, None, stem)


def _metadata(file: Path) -> dict[str, _Entry]:
    rows = json.loads(file.read_text(encoding="utf-8-sig"))
    return {Path(name).stem: _metadata_entry(row) for name, row in rows.items()}


def _metadata_entry(row: dict[str, object]) -> _Entry:
    original = row.get("original")
    return _Entry(
        Label(str(row["label"]).lower()), Path(original).stem if isinstance(original, str) else None
    )


def _labels(file: Path) -> dict[str, _Entry]:
    flags = {"0": Label.REAL, "1": Label.FAKE}
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines)
        return {Path(row["filename"]).stem: _Entry(flags[row["label"].strip()]) for row in rows}
