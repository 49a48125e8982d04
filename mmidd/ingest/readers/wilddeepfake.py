"""WildDeepfake (Zi et al., ACM MM 2020; github.com/OpenTAI/wild-deepfake): crops of videos from the net."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmidd.errors import UsageError
from mmidd.ingest.base import Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted
from mmidd.ingest.limit import Limit
from mmidd.ingest.tree import clip_files, media_files, natural, subfolders
from mmidd.schema import ForgeryType, Label, Media, Split

_FOLDER = re.compile(r"(real|fake)[ _-](train|test)", re.IGNORECASE)
_TAR = re.compile(r"(.+?)\.(?:tar(?:\.gz)?|tgz)", re.IGNORECASE)
_SUFFIXES = frozenset({".gz", ".tgz", ".tar"})


@dataclass(frozen=True)
class _Folder:
    """Reals or fakes of one split."""

    path: Path
    label: Label
    split: Split

    @property
    def name(self) -> str:
        return f"{self.label.value}_{self.split.value}"


class WildDeepfake(Reader):
    """All sequences of WildDeepfake below a root, inside their tar files or unpacked."""

    info = SourceInfo(
        key="wilddeepfake",
        aliases=("wild-deepfake", "wdf"),
        title="WildDeepfake",
        role="eval",
        media="tar files of png, faces already cropped to 224x224 px",
        types="REAL FS",
        size="7,314 sequences of 707 videos, about 1.1 million images in 1,120 tar files",
        layout=(
            "{real_train,real_test,fake_train,fake_test}/1.tar.gz (inside: 1/fake/131/942.png), or unpacked",
        ),
        annotations="none",
        split_rule="folder: train or test; there is no val",
        label_rule="folder: real or fake; the methods are unknown, FS by default",
        licence="WildDeepfake agreement",
        obtain="form of the authors (OpenTAI/wild-deepfake)",
        gotchas=(
            "the tar files are read as they are, --frames uniform frames of each sequence",
            "some files called .tar.gz are plain tar: both are read",
            "the folders are written with blanks in the README (`real train`): both are read",
            "a tar is one video, a folder in it one sequence of one face; crops have no background",
        ),
    )

    def __init__(self, root: Path, options: ReadOptions) -> None:
        super().__init__(root, options)
        if options.compressions:
            raise UsageError("wilddeepfake has one quality only; leave --compression out")

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """A folder with one of the four."""
        return any(_FOLDER.fullmatch(sub.name) for sub in subfolders(folder)) and not _FOLDER.fullmatch(
            folder.name
        )

    @cached_property
    def _folders(self) -> list[_Folder]:
        found = []
        for sub in subfolders(self.root):
            if match := _FOLDER.fullmatch(sub.name):
                inner = next((s for s in subfolders(sub) if _FOLDER.fullmatch(s.name)), sub)
                found.append(_Folder(inner, Label(match[1].lower()), Split(match[2].lower())))
        return found

    def items(self) -> Iterator[Item | Unlisted]:
        """Every tar file, or every sequence of an unpacked one; `limit_videos` of each label."""
        limit = Limit(self.options.limit_videos)
        for folder in self._folders:
            for video in limit.take(folder.label.value, self._videos(folder)):
                yield from video

    def _videos(self, folder: _Folder) -> Iterator[list[Item | Unlisted]]:
        """The items of each tar or of each unpacked sequence, by number."""
        tars = media_files(folder.path, _SUFFIXES)
        unpacked = {sub.name for sub in subfolders(folder.path)}
        for path in sorted((*tars, *subfolders(folder.path)), key=natural):
            match = _TAR.fullmatch(path.name)
            if path.is_dir():
                yield from self._sequences(folder, path)
            elif match and match[1] not in unpacked:
                yield [self._item(folder, path, Media.ARCHIVE, match[1])]

    def _sequences(self, folder: _Folder, video: Path) -> Iterator[list[Item | Unlisted]]:
        for sequence in _leaves(video):
            name = f"{video.name}/{sequence.name}"
            yield [
                self._item(folder, file.path, file.media, name, file.frame) for file in clip_files(sequence)
            ]

    def _item(self, folder: _Folder, path: Path, media: Media, name: str, frame: int | None = None) -> Item:
        fake = folder.label is Label.FAKE
        video = f"wilddeepfake/{folder.name}/{name}"
        return Item(
            path=path.relative_to(self.root).as_posix(),
            media=media,
            label=folder.label,
            type=ForgeryType.FS if fake else ForgeryType.REAL,
            method="WildDeepfake" if fake else "real",
            video_id=video,
            pair_id=video,
            split=folder.split,
            split_origin="official",
            label_note="its method is unknown; FS by default" if fake else None,
            licence=self.info.licence,
            frame_index=frame,
        )

    def expected(self) -> Iterator[Expected]:
        """Nothing: there is no list."""
        return iter(())


def _leaves(folder: Path) -> Iterator[Path]:
    inner = subfolders(folder)
    for sub in inner:
        yield from _leaves(sub)
    if not inner:
        yield folder
