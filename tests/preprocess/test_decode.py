"""Frames come by their true index; what cannot be decoded is named."""

from __future__ import annotations

import struct
import wave
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmidd.errors import MediaError
from mmidd.preprocess.decode import (
    Limits,
    decode_still,
    frame_positions,
    load_image,
    plan_video,
    read_plan,
    sample_frames_at,
    sample_video,
)
from tests.preprocess.preprocess_media import (
    counted_frames,
    portrait,
    shown_turned,
    told_index,
    wipe_packets,
    write_video,
)


@given(total=st.integers(1, 5000), frames=st.integers(1, 400))
def test_positions_are_unique_sorted_and_span_the_video(total: int, frames: int) -> None:
    positions = frame_positions(total, frames)
    assert len(positions) == min(total, frames)
    assert positions == sorted(set(positions))
    assert positions[0] == 0
    assert frames == 1 or positions[-1] == total - 1
    gaps = np.diff(positions)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_every_frame_has_its_own_index_and_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", counted_frames(40))
    frames = list(sample_video(path, 7))
    assert [frame.index for frame in frames] == frame_positions(40, 7)
    assert [told_index(frame.image) for frame in frames] == frame_positions(40, 7)
    assert [frame.pts_ms for frame in frames] == pytest.approx([40.0 * (f.index or 0) for f in frames])
    assert frames[0].image.shape == (48, 64, 3)


def test_short_video_gives_all_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", counted_frames(5))
    assert [told_index(frame.image) for frame in sample_video(path, 32)] == [0, 1, 2, 3, 4]


def test_container_without_timestamps_is_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.h264", counted_frames(20))
    plan = plan_video(path, 4)
    assert plan.pts == ()
    assert [told_index(frame.image) for frame in sample_video(path, 4)] == list(plan.indices)


def test_truncated_video_gives_the_frames_it_has(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", counted_frames(40), faststart=True)
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.8)])
    with av.open(path) as container:
        assert container.streams.video[0].frames == 40
    plan = plan_video(path, 100)
    frames = list(sample_video(path, 100))
    assert 5 < len(frames) <= plan.total < 40
    assert all(told_index(frame.image) == frame.index for frame in frames)


def test_truncated_video_without_its_index_is_unreadable(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", counted_frames(40))
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.8)])
    with pytest.raises(MediaError) as error:
        list(sample_video(path, 4))
    assert error.value.reason == "unreadable"


def garble_packet(path: Path, which: int) -> None:
    """Change some bytes in the middle of a coded frame: the decoder patches it up."""
    with av.open(path) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][which]
    data = bytearray(path.read_bytes())
    middle = (packet.pos or 0) + packet.size // 2
    data[middle : middle + 40] = bytes(byte ^ 0x5A for byte in data[middle : middle + 40])
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage", [lambda path: wipe_packets(path, slice(8, 9)), lambda path: garble_packet(path, 8)]
)
def test_damage_leaves_gaps_up_to_the_next_keyframe(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    shots = [np.roll(portrait()[:256], 8 * index, axis=1) for index in range(24)]
    path = write_video(tmp_path / "v.mp4", shots, interval=8)
    damage(path)
    found = dict(read_plan(plan_video(path, 24)))
    assert [index for index, frame in found.items() if frame is None] == list(range(8, 16))
    for index, frame in found.items():
        assert frame is None or np.abs(frame.image.astype(int) - shots[index]).mean() < 4


def test_nothing_after_damage_is_placed_where_frames_are_counted(tmp_path: Path) -> None:
    shots = [np.roll(portrait()[:256], 8 * index, axis=1) for index in range(24)]
    path = write_video(tmp_path / "v.h264", shots, interval=8)
    garble_packet(path, 8)
    plan = plan_video(path, 24)
    assert plan.pts == ()
    assert [frame.index for _, frame in read_plan(plan) if frame is not None] == list(range(8))


def test_mask_frames_come_at_the_same_indices_as_grey(tmp_path: Path) -> None:
    path = write_video(tmp_path / "mask.mp4", counted_frames(20))
    frames = list(sample_frames_at(path, [19, 3, 3, 50]))
    assert [frame.index for frame in frames] == [3, 19]
    assert [told_index(frame.image) for frame in frames] == [3, 19]
    assert frames[0].image.shape == (48, 64)


def test_rotated_video_is_turned_upright(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, 32:] = 255
    path = shown_turned(write_video(tmp_path / "v.mp4", [image] * 3), tmp_path / "turned.mp4")
    (frame,) = sample_video(path, 1)
    assert frame.image.shape == (64, 48, 3)
    assert frame.image[:28].max() < 30
    assert frame.image[36:].min() > 225


def test_a_file_without_frames_says_why(tmp_path: Path) -> None:
    empty, noise, sound, blank = (tmp_path / name for name in ("e.mp4", "n.mp4", "s.wav", "b.mp4"))
    empty.touch()
    noise.write_bytes(bytes(range(256)) * 8)
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(4000))
    wipe_packets(write_video(blank, counted_frames(3)), slice(None))
    reasons = {}
    for path in (empty, noise, sound, blank, tmp_path / "absent.mp4", tmp_path):
        with pytest.raises(MediaError) as error:
            list(sample_video(path, 4))
        reasons[path.name] = error.value.reason
    assert list(reasons.values()) == [
        "empty_file",
        "unreadable",
        "no_video_stream",
        "no_frames",
        "missing",
        "unreadable",
    ]


def test_forbidden_files_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    video, still = write_video(tmp_path / "v.mp4", counted_frames(2)), tmp_path / "i.png"
    Image.new("RGB", (8, 8)).save(still)
    monkeypatch.setattr(av, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(MediaError, match="permission_denied"):
        list(sample_video(video, 1))
    with pytest.raises(MediaError, match="permission_denied"):
        load_image(still)


@pytest.mark.parametrize("limits", [Limits(frames=9), Limits(pixels=64 * 48 - 1)])
def test_video_beyond_its_limits_is_refused(tmp_path: Path, limits: Limits) -> None:
    path = write_video(tmp_path / "v.mp4", counted_frames(10))
    with pytest.raises(MediaError, match="too_large"):
        plan_video(path, 2, limits)


def test_a_frame_that_grows_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    small = write_video(tmp_path / "s.h264", counted_frames(3)).read_bytes()
    large = write_video(tmp_path / "l.h264", counted_frames(3, 96, 128)).read_bytes()
    path = tmp_path / "v.h264"
    path.write_bytes(small + large)
    assert [frame.image.shape[0] for frame in sample_video(path, 6)] == [48] * 3 + [96] * 3
    with pytest.raises(MediaError, match="too_large"):
        list(sample_video(path, 6, Limits(pixels=64 * 48)))


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: shown after a quarter turn clockwise
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "i.jpg", exif=exif, quality=95)
    image = load_image(tmp_path / "i.jpg")
    assert image.shape == (40, 60, 3)
    assert np.abs(image.astype(int) - upright).mean() < 3


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def test_every_pixel_kind_becomes_the_same_rgb() -> None:
    rgb = portrait()[60:180, 160:280]
    image = Image.fromarray(rgb)
    opaque = image.copy()
    opaque.putalpha(255)
    for data, tolerance in (
        (encoded(image.convert("CMYK"), "JPEG", quality=98), 3.0),
        (encoded(image.convert("CMYK"), "TIFF"), 0.5),
        (encoded(image.quantize(256), "PNG"), 6.0),
        (encoded(opaque, "PNG"), 0.0),
        (encoded(image, "BMP"), 0.0),
    ):
        assert np.abs(decode_still(data).astype(int) - rgb).mean() <= tolerance
    grey = np.asarray(image.convert("L"))
    for data in (
        encoded(image.convert("L"), "PNG"),
        encoded(Image.fromarray(grey.astype(np.uint16) * 256 + 3), "PNG"),
        encoded(Image.fromarray(grey.astype(np.int32) * 256 + 3), "TIFF"),
    ):
        assert np.array_equal(decode_still(data), np.repeat(grey[..., None], 3, axis=2))


def test_sixteen_bit_colour_keeps_the_high_byte() -> None:
    rgb = portrait()[:8, :8]
    rows = b"".join(b"\0" + (row.astype(np.uint16) * 256 + 7).astype(">u2").tobytes() for row in rgb)
    assert np.array_equal(decode_still(png(8, 8, rows, depth=16)), rgb)


def test_transparent_pixels_are_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert decode_still(encoded(clear, "PNG")).min() == 255
    palette = Image.new("P", (4, 4))
    assert decode_still(encoded(palette, "PNG", transparency=0)).min() == 255


def png(width: int, height: int, rows: bytes, depth: int = 8) -> bytes:
    """A PNG file, independent of any image library."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    sealed = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(sealed)


@pytest.mark.parametrize("side", [9_000, 11_000, 30_000])
def test_huge_image_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(MediaError) as error:
        decode_still(png(side, side, b""))
    assert error.value.reason == "too_large"


def test_a_still_that_cannot_be_decoded_says_why(tmp_path: Path) -> None:
    jpeg = encoded(Image.fromarray(portrait()), "JPEG")
    floats = encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    deep = encoded(Image.fromarray(np.full((4, 4), 1 << 20, np.int32)), "TIFF")
    reasons = []
    for data in (jpeg[: len(jpeg) // 2], b"no image", floats, deep, b""):
        path = tmp_path / "i"
        path.write_bytes(data)
        with pytest.raises(MediaError) as error:
            load_image(path)
        reasons.append(error.value.reason)
    assert reasons == ["truncated", "unreadable", "unsupported_pixels", "unsupported_pixels", "empty_file"]
