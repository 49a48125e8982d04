"""Bad input is one clear line or a counted row, never a traceback, and nothing is lost."""

from __future__ import annotations

import io
import os
import resource
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from skimage import data

from mmidd.workspace import Workspace
from tests.cli.command import as_json, error_line, mmidd, own_images
from tests.ingest import trees


def face() -> Image.Image:
    return Image.fromarray(data.astronaut())  # type: ignore[no-untyped-call]


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(face().rotate(90, expand=True), "JPEG", exif=exif)


def sixteen_bit() -> bytes:
    grey = np.asarray(face().convert("L"), dtype=np.uint16) * 257
    return saved(Image.fromarray(grey), "PNG")


def huge() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


IMAGES: dict[str, tuple[bytes, str | None]] = {
    "plain.jpg": (saved(face(), "JPEG"), None),
    "cmyk.jpg": (saved(face().convert("CMYK"), "JPEG"), None),
    "sixteen.png": (sixteen_bit(), None),
    "rotated.jpg": (rotated(), None),
    "palette.png": (saved(face().convert("P"), "PNG"), None),
    "noface.png": (saved(Image.new("RGB", (300, 300), "grey"), "PNG"), "no_face"),
    "empty.jpg": (b"", "empty_file"),
    "cut.jpg": (saved(face(), "JPEG")[:9000], "truncated"),
    "text.png": (b"<html>404</html>", "unreadable"),
    "huge.png": (huge(), "too_large"),
}


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    root = own_images(tmp_path_factory.mktemp("bad") / "raw")
    for name, (content, _) in IMAGES.items():
        (root / name).write_bytes(content)
    workspace = root.parent / "ws"
    return mmidd("ingest", "folder", root, "-w", workspace), workspace


def test_every_odd_image_is_a_sample_or_a_counted_reason(
    ingested: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, workspace = ingested
    rows = Workspace.open(workspace).tables()["samples/own-real"].scan().collect()
    units = rows.filter(pl.col("status") != "rejected").select("src_path", "reason")
    assert dict(units.iter_rows()) == {name: reason for name, (_, reason) in IMAGES.items()}
    for _, reason in IMAGES.values():
        assert reason is None or f"failed: {reason}" in done.stdout


def test_too_many_failures_are_exit_code_4_and_keep_the_samples(
    ingested: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, workspace = ingested
    assert "5 of 10 units failed" in error_line(done, 4)
    assert as_json("status", "-w", workspace)["samples"][0]["len"] == 5


def test_rotation_by_exif_changes_nothing_but_the_file(
    ingested: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    rows = Workspace.open(ingested[1]).samples().collect()
    boxes = dict(rows.select("src_path", "box").iter_rows())
    assert np.allclose(boxes["rotated.jpg"], boxes["plain.jpg"], atol=4)


def test_another_spec_is_refused_and_names_the_difference(
    ingested: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, workspace = ingested
    root = workspace.parent / "raw"
    line = error_line(mmidd("ingest", "folder", root, "-w", workspace, "--margin", "1.5"), 2)
    assert "margin 1.3 is pinned, 1.5 was asked" in line
    assert (
        mmidd("ingest", "folder", root, "-w", workspace, "--margin", "1.3", "--max-failed", "1").returncode
        == 0
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ingest", "ff", "."], "unknown source"),
        (["ingest", "ff++", "absent"], "not a folder"),
        (["ingest", "folder", ".", "--size", "7"], "--size"),
        (["ingest", "folder", ".", "--detector", "eyes"], "--detector"),
        (["caption", "-w", "absent"], "mmidd ingest"),
        (["simulate", "-w", "absent"], "mmidd ingest"),
        (["shard", "-w", "absent"], "mmidd ingest"),
        (["train", "sd2", "-w", "absent"], "mmidd ingest"),
        (["eval", "x", "-w", "absent"], "mmidd ingest"),
        (["status", "-w", "absent"], "mmidd ingest"),
        (["detect", ".", "--run", "x", "-w", "absent"], "mmidd ingest"),
        (["sources", "show", "nope"], "unknown source"),
    ],
)
def test_bad_arguments_stop_at_once(tmp_path: Path, arguments: list[str], words: str) -> None:
    own_images(tmp_path)
    done = mmidd(*("-w" if a == "-w" else tmp_path / a if a in {".", "absent"} else a for a in arguments))
    assert words in error_line(done, 2)


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(tmp_path: Path) -> None:
    root = own_images(tmp_path / "raw")
    for number in range(4):
        (root / f"{number}.jpg").write_bytes(saved(face().crop((0, 0, 500 - number, 500)), "JPEG"))
    tiny: Callable[[], None] = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
    done = mmidd("ingest", "folder", root, "-w", tmp_path / "ws", before=tiny)
    assert "the disk is full" in error_line(done, 3)
    assert as_json("ingest", "folder", root, "-w", tmp_path / "ws")["samples"] == 4
    assert as_json("verify", "--full", "-w", tmp_path / "ws") == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_row(tmp_path: Path) -> None:
    root = own_images(tmp_path / "raw")
    (root / "a.jpg").write_bytes(saved(face(), "JPEG"))
    (root / "a.jpg").chmod(0)
    done = mmidd("ingest", "folder", root, "-w", tmp_path / "ws")
    assert "unreadable" in done.stdout


def test_check_exits_4_when_files_are_missing(tmp_path: Path) -> None:
    root = trees.ffpp(tmp_path / "ff")
    assert mmidd("ingest", "ff++", root, "--check").returncode == 0
    next((root / "original_sequences/youtube/c23/videos").iterdir()).unlink()
    done = mmidd("ingest", "ff++", root, "--check")
    assert "incomplete" in error_line(done, 4)
    assert not (tmp_path / "mmidd-data").exists()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_commits_what_is_finished(tmp_path: Path, stop: signal.Signals) -> None:
    root = own_images(tmp_path / "raw")
    for number in range(60):
        (root / f"{number}.jpg").write_bytes(saved(face().resize((900 + number, 900)), "JPEG"))
    command = [
        sys.executable,
        "-m",
        "mmidd.cli.main",
        "ingest",
        "folder",
        str(root),
        "-w",
        str(tmp_path / "ws"),
    ]
    options = ["--workers", "1", "--commit-every", "0.1"]
    process = subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    while not list((tmp_path / "ws").glob("samples/own-real/parts/*.parquet")):
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(stop)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "all kept" in errors
    assert "Traceback" not in errors
    assert as_json("verify", "-w", tmp_path / "ws") == []


def test_help_imports_no_torch() -> None:
    code = (
        "import sys\nfrom mmidd.cli.main import app\n"
        "print([m for m in ('torch', 'av', 'dlib', 'sklearn', 'matplotlib', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
