"""Which files of a path are images or videos: by their first bytes, else by extension."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mmidd.errors import MediaError, UsageError
from mmidd.schema import Media

IMAGE_EXTENSIONS = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
VIDEO_EXTENSIONS = frozenset(
    {".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"}
)

_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8", b"II*\0", b"MM\0*")
_VIDEO_STARTS = (b"\x1a\x45\xdf\xa3", b"FLV\x01", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"\x30\x26\xb2\x75")
_STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1")


def media_of(path: Path) -> Media:
    """What a file is.

    Raises:
        MediaError: not_found, permission_denied, unreadable, or not_media where neither its
            bytes nor its name are those of an image or video.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError as error:
        raise MediaError("not_found", path.name) from error
    except PermissionError as error:
        raise MediaError("permission_denied", path.name) from error
    except OSError as error:
        raise MediaError("unreadable", error.strerror or str(error)) from error
    media = _by_content(start) or _by_name(path)
    if media is None:
        raise MediaError("not_media", f"{path.name} is neither an image nor a video")
    return media


def files_under(path: Path) -> Iterator[Path]:
    """The file itself, or every file below a folder in sorted order, hidden ones left out.

    A folder that cannot be listed is given itself, so that opening it names the reason.

    Raises:
        UsageError: nothing at the path, or a folder without files.
    """
    if not path.exists():
        raise UsageError(f"nothing at {path}; pass an image, a video or a folder")
    if not path.is_dir():
        yield path
        return
    found = False
    for file in _walk(path):
        found = True
        yield file
    if not found:
        raise UsageError(f"no files in {path}; pass an image, a video or a folder of them")


def _walk(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif not entry.is_dir():
            yield Path(entry.path)


def _by_content(start: bytes) -> Media | None:
    if start[:4] == b"RIFF":
        return {b"WEBP": Media.IMAGE, b"AVI ": Media.VIDEO}.get(start[8:12])
    if start[4:8] == b"ftyp":
        return Media.IMAGE if start[8:12] in _STILL_BRANDS else Media.VIDEO
    if start.startswith(_IMAGE_STARTS):
        return Media.IMAGE
    return Media.VIDEO if start.startswith(_VIDEO_STARTS) else None


def _by_name(path: Path) -> Media | None:
    extension = path.suffix.lower()
    if extension in IMAGE_EXTENSIONS:
        return Media.IMAGE
    return Media.VIDEO if extension in VIDEO_EXTENSIONS else None
