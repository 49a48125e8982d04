"""Finding media in a folder tree: any case, natural order, videos as files or as folders of frames."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mmidd.schema import Media

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm"})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class ClipFile:
    """A video file, or one frame of a video that is a folder; `frame` is the frame's number."""

    path: Path
    media: Media
    frame: int | None = None


def folders(root: Path, depth: int) -> Iterator[Path]:
    """`root` and the folders below it, breadth first, in natural order, at most `depth` levels down."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = [child for folder in level for child in subfolders(folder)]


def subfolders(folder: Path) -> list[Path]:
    """The folders directly in `folder` that can be listed, in natural order."""
    try:
        return sorted((p for p in folder.iterdir() if p.is_dir()), key=natural)
    except PermissionError:
        return []


def child(folder: Path, name: str) -> Path | None:
    """The entry of `folder` called `name` in any case, or None."""
    return next((p for p in subfolders(folder) if p.name.lower() == name.lower()), None)


def natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort key by name in which digit runs compare as numbers."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(p), "") if p.isdigit() else (-1, p.lower()) for p in parts], path.name


def media_files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """The files directly in `folder` with one of the suffixes, in natural order."""
    if not folder.is_dir():
        return []
    return sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".")),
        key=natural,
    )


def level(folder: Path, *names: str) -> Path:
    """The first of the named subfolders that exists, or the folder itself."""
    return next((found for name in names if (found := child(folder, name))), folder)


def clips(folder: Path) -> list[Path]:
    """The clips of a folder in natural order: its video files, or else its folders of frames."""
    return media_files(folder, VIDEO_SUFFIXES) or subfolders(folder)


def clip_name(clip: Path) -> str:
    """A clip's name: of a folder its name, of a file that without the suffix."""
    return clip.name if clip.is_dir() else clip.stem


def clip_files(clip: Path, frames: Media = Media.PRECROPPED) -> Iterator[ClipFile]:
    """The media of a clip: the file itself, or the images of a folder, which are `frames`.

    Frames are numbered by their names, or by their order where two names hold the same number.
    """
    if not clip.is_dir():
        yield ClipFile(clip, Media.VIDEO)
        return
    images = media_files(clip, IMAGE_SUFFIXES)
    numbers = [frame_number(image) for image in images]
    if len(set(numbers)) < len(numbers):
        numbers = list(range(len(images)))
    for image, number in zip(images, numbers, strict=True):
        yield ClipFile(image, frames, number)


def frame_number(image: Path) -> int:
    """The last run of digits in a file's name, 0 without one."""
    digits = re.findall(r"\d+", image.stem)
    return int(digits[-1]) if digits else 0
