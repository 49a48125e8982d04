"""DeepfakeTIMIT (Korshunov and Marcel, 2018) and its originals, VidTIMIT, a download of its own.

A fake `<subject>/<utterance>-video-<donor>` is the subject's utterance with the donor's face. Donor and
subject are fixed partners, so that both are kept in one split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mmidd.errors import UsageError
from mmidd.ingest.base import Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted
from mmidd.ingest.splits import derived_split, groups
from mmidd.ingest.tree import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    ClipFile,
    child,
    clip_files,
    clip_name,
    frame_number,
    level,
    media_files,
    natural,
    subfolders,
)
from mmidd.schema import ForgeryType, Label, Media

QUALITIES = {"higher_quality": "TIMIT-HQ", "lower_quality": "TIMIT-LQ"}
REALS = "VidTIMIT"
_VIDTIMIT = re.compile(r"vid[-_ ]?timit", re.IGNORECASE)
_SUBJECT = re.compile(r"[fm][a-z]{3}\d", re.IGNORECASE)
_FAKE = re.compile(r".+-video-([fm][a-z]{3}\d)")
_ROTATION = re.compile(r"head[23]?")
_LEVELS = ("video", "videos", "frames")
_NO_CLIPS = frozenset({"landmarks", "masks"})
_STILLS = (b"\xff\xd8", b"\x89PNG")
_DEPTH = 3


@dataclass(frozen=True)
class _Clip:
    """A video, or a folder of its frames; names are in lower case, a real has no donor."""

    path: Path
    method: str
    subject: str
    name: str
    donor: str = ""

    @property
    def video_id(self) -> str:
        return f"timit/{self.method}/{self.subject}/{self.name}"

    @property
    def original(self) -> str:
        return f"timit/{REALS}/{self.subject}/{self.name.partition('-video-')[0]}"


class Timit(Reader):
    """All clips of DeepfakeTIMIT, and of VidTIMIT if it lies below or beside the root."""

    info = SourceInfo(
        key="timit",
        aliases=("deepfaketimit", "deepfake-timit", "dftimit"),
        title="DeepfakeTIMIT with VidTIMIT",
        role="train",
        media="avi video 512x384 (fakes), folders of JPEG frames (reals)",
        types="REAL FS",
        size="320 fake clips of 32 subjects in each quality; VidTIMIT 43 subjects",
        layout=(
            "[DeepfakeTIMIT/]{higher_quality,lower_quality}/fadg0/sa1-video-fram1.avi",
            "VidTIMIT/fadg0/video/sa1/001 (JPEG without suffix, or .jpg) or VidTIMIT/fadg0/sa1.avi, below or "
            "beside it",
        ),
        annotations="none",
        split_rule="none official: by a hash of the pair of subject and donor, who are fixed partners",
        label_rule="clips of both qualities are FS; VidTIMIT is real",
        licence="Idiap EULA; VidTIMIT non-commercial",
        obtain="DeepfakeTIMIT: agreement with Idiap; VidTIMIT: a separate download, one zip per subject",
        gotchas=(
            "without VidTIMIT there are no reals and no pairs",
            "VidTIMIT's frames often have no suffix: they are known by content",
            "both qualities share their originals, which are listed once",
            "the rotations head, head2 and head3 of VidTIMIT are skipped, as is audio",
            "reals are JPEG frames and fakes are avi: a model can learn that instead",
        ),
    )
    derives_splits = True

    def __init__(self, root: Path, options: ReadOptions) -> None:
        super().__init__(root, options)
        if options.compressions:
            raise UsageError("timit has no compressions; TIMIT-HQ and TIMIT-LQ are methods of it")

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """A folder with one of the qualities, or with a folder named after TIMIT that has one."""
        return any(child(place, quality) for place in _places(folder) for quality in QUALITIES)

    @cached_property
    def _fakes(self) -> dict[str, list[_Clip | Path]]:
        """The clips of both qualities; a path where the name does not tell subject and donor."""
        found: dict[str, list[_Clip | Path]] = {}
        for quality, method in QUALITIES.items():
            inside = (child(place, quality) for place in _places(self.root))
            if folder := next(filter(None, inside), None):
                found[method] = [_fake(clip, method, folder) for clip in _walk(folder)]
        return found

    @cached_property
    def _reals(self) -> list[_Clip]:
        """The clips of VidTIMIT below the root, else beside it, that hold a picture."""
        subjects = _subjects(self.root, 0)
        subjects += [subject for place in _places(self.root) for subject in _vidtimit(place)]
        clips = [clip for subject in subjects or _vidtimit(self.root / "..") for clip in _utterances(subject)]
        return [clip for clip in clips if any(isinstance(file, ClipFile) for file in _files(clip))]

    @cached_property
    def _originals(self) -> set[str]:
        return {clip.video_id for clip in self._reals}

    @cached_property
    def _groups(self) -> dict[str, str]:
        clips = (clip for clips in self._fakes.values() for clip in clips)
        return groups((clip.subject, clip.donor) for clip in clips if isinstance(clip, _Clip))

    def _group(self, clip: _Clip) -> str:
        return f"timit/{self._groups.get(clip.subject, clip.subject)}"

    def items(self) -> Iterator[Item | Unlisted]:
        """Every clip once, reals first."""
        yield from self._method_items(self._reals)
        for clips in self._fakes.values():
            yield from self._method_items(clips)

    def _method_items(self, clips: Sequence[_Clip | Path]) -> Iterator[Item | Unlisted]:
        first: dict[str, _Clip] = {}
        for clip in clips:
            if isinstance(clip, Path):
                yield Unlisted(self._path(clip), "its name and folder do not tell subject and donor")
            elif first.setdefault(clip.video_id, clip) is not clip:
                yield Unlisted(self._path(clip.path), f"a second copy of {clip.video_id}")
            elif len(first) <= (self.options.limit_videos or len(first)):
                yield from self._clip_items(clip)

    def _clip_items(self, clip: _Clip) -> Iterator[Item | Unlisted]:
        seen: set[int | None] = set()
        for file in _files(clip):
            if isinstance(file, Path):
                yield Unlisted(self._path(file), "not a JPEG or PNG file")
            elif file.frame in seen:
                yield Unlisted(self._path(file.path), f"a second copy of frame {file.frame}")
            else:
                seen.add(file.frame)
                yield self._item(clip, file)

    def _path(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _item(self, clip: _Clip, file: ClipFile) -> Item:
        people = (clip.subject, clip.donor) if clip.donor else (clip.subject,)
        item = Item(
            path=self._path(file.path),
            media=file.media,
            label=Label.FAKE if clip.donor else Label.REAL,
            type=ForgeryType.FS if clip.donor else ForgeryType.REAL,
            method=clip.method,
            video_id=clip.video_id,
            pair_id=clip.video_id,
            identity_ids=tuple(f"timit/{person}" for person in people),
            group=self._group(clip),
            licence=self.info.licence,
            frame_index=file.frame,
        )
        return self._paired(item, clip.original) if clip.donor else item

    def _paired(self, item: Item, original: str) -> Item:
        if original not in self._originals:
            note = f"its original {original.removeprefix('timit/')} is not here"
            return replace(item, target_video=original, label_note=note)
        return replace(item, pair_id=original, target_video=original, pair_confidence="derived")

    def expected(self) -> Iterator[Expected]:
        """Every fake in each quality that is there: both were made of the same clips."""
        clips = [c for clips in self._fakes.values() for c in clips if isinstance(c, _Clip)]
        names = {(c.subject, c.name): c for c in clips}
        here = {(c.method, c.subject, c.name): clip_name(c.path) for c in clips}
        for method in self._fakes:
            for key, clip in names.items():
                split = derived_split(self._group(clip), self.options.seed)
                yield Expected(method, split, None, here.get((method, *key), clip.name))


def _places(folder: Path) -> list[Path]:
    """Where the parts may lie: the folder and those in it that are named after TIMIT."""
    return [folder, *(sub for sub in subfolders(folder) if "timit" in sub.name.lower())]


def _walk(folder: Path) -> Iterator[Path]:
    """Clips at any depth: video files, and folders that hold images and no folders."""
    yield from media_files(folder, VIDEO_SUFFIXES)
    inner = [sub for sub in subfolders(folder) if sub.name.lower() not in _NO_CLIPS]
    for sub in inner:
        yield from _walk(sub)
    if not inner and next(clip_files(folder), None):
        yield folder


def _fake(path: Path, method: str, folder: Path) -> _Clip | Path:
    above = reversed(path.relative_to(folder).parts[:-1])
    subject = next((part.lower() for part in above if _SUBJECT.fullmatch(part)), None)
    match = _FAKE.fullmatch(clip_name(path).lower())
    return _Clip(path, method, subject, match[0], match[1]) if subject and match else path


def _vidtimit(place: Path) -> list[Path]:
    """The subjects of VidTIMIT in a folder of that name in `place`."""
    named = [sub for sub in subfolders(place) if _VIDTIMIT.match(sub.name)]
    return [subject for folder in named for subject in _subjects(folder, _DEPTH)]


def _subjects(folder: Path, depth: int) -> list[Path]:
    found = []
    for sub in subfolders(folder):
        if _SUBJECT.fullmatch(sub.name):
            found.append(sub)
        elif depth:
            found += _subjects(sub, depth - 1)
    return found


def _utterances(subject: Path) -> Iterator[_Clip]:
    """The utterances of a subject: folders of frames first, then videos."""
    base = subject
    while inner := child(base, subject.name):
        base = inner
    for place in dict.fromkeys((level(base, *_LEVELS), base)):
        for path in (*subfolders(place), *media_files(place, VIDEO_SUFFIXES)):
            name = clip_name(path).lower()
            if name not in _NO_CLIPS and name not in _LEVELS and not _ROTATION.fullmatch(name):
                yield _Clip(path, REALS, subject.name.lower(), name)


def _files(clip: _Clip) -> Iterator[ClipFile | Path]:
    """The media of a clip; a bare path is a frame by its name that is no image."""
    if clip.donor or not clip.path.is_dir():
        yield from clip_files(clip.path)
        return
    crops = "frames" in (part.lower() for part in clip.path.parts[-4:-1])
    media = Media.PRECROPPED if crops else Media.IMAGE
    for path in sorted(clip.path.iterdir(), key=natural):
        if path.name.startswith(".") or path.is_dir():
            continue
        if _is_still(path):
            yield ClipFile(path, media, frame_number(path))
        elif path.name.isdigit() or path.suffix.lower() in IMAGE_SUFFIXES:
            yield path


def _is_still(path: Path) -> bool:
    """Whether a file begins like JPEG or PNG; one that may not be read counts by its name."""
    try:
        with path.open("rb") as file:
            return file.read(4).startswith(_STILLS)
    except OSError:
        return path.name.isdigit() or path.suffix.lower() in IMAGE_SUFFIXES
