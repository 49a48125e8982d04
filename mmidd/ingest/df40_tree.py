"""Where clips lie in the archives of DF40, and which archive a folder is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmidd.ingest.base import Unlisted
from mmidd.ingest.df40_methods import Method, method_named
from mmidd.ingest.ffclips import CLIP
from mmidd.ingest.tree import IMAGE_SUFFIXES, VIDEO_SUFFIXES, ClipFile, clip_files, media_files, subfolders
from mmidd.schema import Media

BESIDE = frozenset({"landmarks", "masks", "dataset_json", "dataset", "splits"})
"""Folders that hold no media to read."""

_LEVELS = frozenset({"frames", "videos", "inversions", "train", "test", "fake", "real", "ff", "cdf", "cdfv2"})
_MARKS = frozenset({"frames", "fake", "real", "ff", "cdf", "cdfv2"})
_REALS = frozenset({"celeb-real", "youtube-real"})
_UNREAD = frozenset({".gif", ".zip"})


@dataclass(frozen=True)
class Clip:
    """A folder of frames, a video file or a single image, and where it lies.

    Attributes:
        method: that made it, or that its shipped reals belong to.
        path: of the folder or file.
        domain: whose clips were forged: `ff`, `cdf`, or `own` for a method with its own reals.
        real: whether it is one of those reals.
        group: folder of Celeb-DF's reals that entirely synthesised faces are sorted by, or "".
    """

    method: Method
    path: Path
    domain: str
    real: bool
    group: str = ""

    @property
    def column(self) -> str:
        """What the column `method` says; reals that a method brings have one of their own."""
        return f"{self.method.name}-real" if self.real else self.method.name


def archives(folder: Path) -> set[str]:
    """Which archives a folder may be, by its name and by the levels below its methods."""
    if method_named(folder.name):
        return set()
    named = folder.name.lower().startswith("df40")
    methods = [sub for sub in subfolders(folder) if method_named(sub.name)]
    marks = [names for sub in methods if (names := _marks(sub)) or named]
    if not marks:
        return set()
    if "train" in folder.name.lower():
        return {"train"}
    seen = set().union(*marks)
    if seen & {"cdf", "cdfv2", "fake", "real"}:
        return {"test"}
    if "ff" not in seen:
        return {"train"}
    return {"test"} if named else {"train", "test"}


def _marks(folder: Path) -> set[str]:
    """The telling names of subfolders, below doubled folders."""
    inner = [sub for sub in subfolders(folder) if method_named(sub.name)]
    if inner:
        return _marks(inner[0])
    names = {sub.name.lower() for sub in subfolders(folder)}
    return names & _MARKS or {name for name in names if CLIP.fullmatch(name)}


def walk(method: Method, folder: Path, domain: str, parts: tuple[str, ...] = ()) -> Iterator[Clip | Unlisted]:
    """The clips of a method folder: leaf folders, videos, and the images of folders that are no clip."""
    for file in media_files(folder, _UNREAD):
        yield Unlisted(str(file), f"{file.suffix[1:].lower()} files are not read; unpack or convert it")
    lower = [part.lower().removeprefix("fake_from_") for part in parts]
    domain = next(("cdf" if p.startswith("cdf") else p for p in lower if p in {"ff", "cdf", "cdfv2"}), domain)
    real = not method.known and "real" in lower
    group = next((part for part in lower if part in _REALS), "")
    single = not parts or lower[-1] in _LEVELS | _REALS or method_named(parts[-1]) is not None
    for file in media_files(folder, VIDEO_SUFFIXES | IMAGE_SUFFIXES if single else VIDEO_SUFFIXES):
        yield Clip(method, file, domain, real, group)
    if not single and media_files(folder, IMAGE_SUFFIXES):
        yield Clip(method, folder, domain, real, group)
    for sub in subfolders(folder):
        if sub.name.lower() not in BESIDE:
            yield from walk(method, sub, domain, (*parts, sub.name))


def clip_media(path: Path) -> Iterator[ClipFile]:
    """The media of a clip: one still, one video or the frames of a folder."""
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        return iter([ClipFile(path, Media.PRECROPPED)])
    return clip_files(path)


def indexed_names(index: dict[str, Any], subset: str) -> Iterator[str]:
    """Names of fakes in a subset of an index: dataset -> label -> subset -> [compression ->] clip."""
    for labels in index.values():
        for label, subsets in labels.items():
            if not label.lower().endswith("real"):
                yield from _clips_in(subsets.get(subset, {}))


def _clips_in(level: dict[str, Any]) -> Iterator[str]:
    for name, value in level.items():
        if "frames" in value:
            yield name
        else:
            yield from _clips_in(value)
