from __future__ import annotations

from pathlib import Path

import pytest

from mmidd.detection.media import files_under, media_of
from mmidd.errors import MediaError, UsageError
from mmidd.schema import Media


@pytest.mark.parametrize(("name", "start", "media"), [
    ("a.dat", b"\xff\xd8\xff\xe0", Media.IMAGE),
    ("a.mp4", b"\x89PNG\r\n\x1a\n", Media.IMAGE),
    ("a", b"RIFF\0\0\0\0WEBPVP8 ", Media.IMAGE),
    ("a.jpg", b"RIFF\0\0\0\0AVI LIST", Media.VIDEO),
    ("a.jpg", b"\0\0\0\x20ftypisom\0\0\0\0", Media.VIDEO),
    ("a.mp4", b"\0\0\0\x20ftypavif\0\0\0\0", Media.IMAGE),
    ("a", b"\x1a\x45\xdf\xa3", Media.VIDEO),
    ("a.JPG", b"plain text", Media.IMAGE),
    ("a.MOV", b"", Media.VIDEO),
])  # fmt: skip
def test_content_decides_before_the_name(tmp_path: Path, name: str, start: bytes, media: Media) -> None:
    (tmp_path / name).write_bytes(start)
    assert media_of(tmp_path / name) is media


def test_neither_content_nor_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for name, reason in (("notes.txt", "not_media"), ("gone.jpg", "not_found"), (".", "unreadable")):
        with pytest.raises(MediaError) as caught:
            media_of(tmp_path / name)
        assert caught.value.reason == reason


def test_folders_are_walked_in_order_without_hidden_files_or_loops(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/1.jpg", "a.png", ".hidden/x.jpg", "b/.x.jpg", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    names = [file.relative_to(tmp_path).as_posix() for file in files_under(tmp_path)]
    assert names == ["a.png", "b/1.jpg", "b/2.jpg", "c.txt", "dangling.jpg"]


def test_nothing_to_detect_says_what_to_pass(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pass an image"):
        list(files_under(tmp_path / "gone"))
    with pytest.raises(UsageError, match="no files"):
        list(files_under(tmp_path))
