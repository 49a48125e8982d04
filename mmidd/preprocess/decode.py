"""Decode videos and stills from untrusted files, with limits.

A video is read twice: its packets are counted without decoding (a container's own frame
count is often wrong), then one decoding pass keeps the planned frames. Frames are told
apart by timestamp, so a frame that is lost shifts no other.
"""

from __future__ import annotations

import math
import os
import struct
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import av
import av.error
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mmidd.errors import MediaError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Limits:
    """What a file may ask for before it is refused as `too_large`.

    Attributes:
        pixels: pixels of one frame or still.
        frames: coded frames of one video.
    """

    pixels: int = 64_000_000
    frames: int = 200_000


LIMITS = Limits()
"""The limits used unless others are asked for."""


@dataclass(frozen=True)
class Frame:
    """One decoded frame.

    Attributes:
        index: position in presentation order, from 0; None for a still.
        pts_ms: presentation time in milliseconds, None where the container has none.
        image: uint8 (H, W, 3) RGB, or (H, W) for a mask, upright.
    """

    index: int | None
    pts_ms: float | None
    image: Pixels


@dataclass(frozen=True)
class VideoPlan:
    """Which frames of a video to keep.

    Attributes:
        path: the video.
        total: coded frames found by counting packets.
        indices: planned positions in presentation order, ascending.
        pts: timestamp of every frame in presentation order; empty where the container
            has none, then frames are counted instead.
    """

    path: Path
    total: int
    indices: tuple[int, ...]
    pts: tuple[int, ...]


def frame_positions(total: int, frames: int) -> list[int]:
    """Uniform positions from the first to the last of `total`; all where there are fewer."""
    if total <= frames:
        return list(range(total))
    return [round(float(x)) for x in np.linspace(0, total - 1, frames)]


def plan_video(path: Path, frames: int, limits: Limits = LIMITS) -> VideoPlan:
    """Plan `frames` uniform frames by counting the packets that can be read.

    Raises:
        MediaError: the file cannot be opened, has no video or no frame, or is too large.
    """
    total, pts = _count(path, limits)
    return VideoPlan(path, total, tuple(frame_positions(total, frames)), pts)


def plan_frames_at(path: Path, indices: Sequence[int], limits: Limits = LIMITS) -> VideoPlan:
    """Plan the given positions of a video; those beyond its end become gaps.

    Raises:
        MediaError: the file cannot be opened, has no video or no frame, or is too large.
    """
    total, pts = _count(path, limits)
    return VideoPlan(path, total, tuple(sorted(set(indices))), pts)


def read_plan(
    plan: VideoPlan, limits: Limits = LIMITS, pixel_format: Literal["rgb24", "gray"] = "rgb24"
) -> Iterator[tuple[int, Frame | None]]:
    """Decode once, single-threaded; one (index, frame) per planned index, in order.

    The frame is None where it is lost or damaged: a decoder's patches would pass for traces
    of manipulation.

    Raises:
        MediaError: no_frames where none of them can be decoded, or too_large.
    """
    pending = deque(plan.indices)
    index_of = {pts: index for index, pts in enumerate(plan.pts)}
    with _open_video(plan.path, limits) as container:
        for count, (frame, intact) in enumerate(_decoded(container)):
            index = index_of.get(frame.pts, -1) if index_of and frame.pts is not None else count
            if index not in pending or not intact:
                continue
            while pending[0] < index:
                yield pending.popleft(), None
            yield pending.popleft(), _to_frame(frame, index, limits, pixel_format)
            if not pending:
                return
    if len(pending) == len(plan.indices):
        raise MediaError("no_frames", f"{plan.path.name}: none of {plan.total} frames can be decoded")
    yield from ((index, None) for index in pending)


def sample_video(path: Path, frames: int, limits: Limits = LIMITS) -> Iterator[Frame]:
    """The decodable ones of `frames` uniform frames of a video, in order.

    Raises:
        MediaError: the file cannot be opened, has no video or no frame, or is too large.
    """
    plan = plan_video(path, frames, limits)
    yield from (frame for _, frame in read_plan(plan, limits) if frame is not None)


def sample_frames_at(path: Path, indices: Sequence[int], limits: Limits = LIMITS) -> Iterator[Frame]:
    """The frames of a mask video at the given positions, as (H, W) grey; absent ones left out.

    Raises:
        MediaError: the file cannot be opened, has no video or no frame, or is too large.
    """
    plan = plan_frames_at(path, indices, limits)
    yield from (frame for _, frame in read_plan(plan, limits, "gray") if frame is not None)


def load_image(path: Path, limits: Limits = LIMITS) -> Pixels:
    """Read a still as uint8 (H, W, 3) RGB, upright.

    Raises:
        MediaError: the file is absent, unreadable, truncated or too large.
    """
    return decode_still(read_bytes(path), limits)


def read_bytes(path: Path) -> bytes:
    """All bytes of a file that is not empty.

    Raises:
        MediaError: missing, permission_denied, unreadable or empty_file.
    """
    with _media_errors(path):
        data = path.read_bytes()
    if not data:
        raise MediaError("empty_file", path.name)
    return data


def decode_still(data: bytes, limits: Limits = LIMITS) -> Pixels:
    """Decode the bytes of a still to uint8 (H, W, 3) RGB.

    EXIF orientation is applied; 16-bit is cut to its high byte; alpha is laid over white;
    CMYK follows Adobe's inverted convention. The size is checked before decoding.

    Raises:
        MediaError: unreadable, truncated, too_large or unsupported_pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(BytesIO(data))
        if image.width * image.height > limits.pixels:
            raise MediaError("too_large", f"{image.width}x{image.height} pixels")
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise MediaError("too_large", str(error)) from error
    except UnidentifiedImageError as error:  # its text holds a memory address
        raise MediaError("unreadable", "not an image of a known format") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        cut = "truncated" in str(error).lower()
        raise MediaError("truncated" if cut else "unreadable", str(error)) from error


def image_format(data: bytes) -> str:
    """Lower-case name of a still's file format, such as `jpeg`."""
    return (Image.open(BytesIO(data)).format or "unknown").lower()


def _to_rgb(image: Image.Image) -> Pixels:
    if image.mode.startswith("I"):
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() > np.iinfo(np.uint16).max:
            raise MediaError("unsupported_pixels", f"mode {image.mode} beyond 16 bits")
        return np.repeat((wide >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise MediaError("unsupported_pixels", "floating point pixels")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _count(path: Path, limits: Limits) -> tuple[int, tuple[int, ...]]:
    stamps: list[int | None] = []
    with _open_video(path, limits) as container:
        for packet in _packets(container):
            if packet.size and not packet.is_discard:
                stamps.append(packet.pts)
            if len(stamps) > limits.frames:
                raise MediaError("too_large", f"more than {limits.frames} frames")
    if not stamps:
        raise MediaError("no_frames", path.name)
    known = sorted({pts for pts in stamps if pts is not None})
    return len(stamps), tuple(known) if len(known) == len(stamps) else ()


@contextmanager
def _open_video(path: Path, limits: Limits) -> Iterator[InputContainer]:
    with _media_errors(path):
        if os.stat(path).st_size == 0:  # noqa: PTH116 - a plain str path is welcome too
            raise MediaError("empty_file", path.name)
        container = av.open(path, "r", metadata_errors="replace")
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, av.VideoStream):
            raise MediaError("no_video_stream", path.name)
        context = stream.codec_context
        if context.width * context.height > limits.pixels:
            raise MediaError("too_large", f"{context.width}x{context.height} pixels")
        context.thread_count = 1
        yield container


@contextmanager
def _media_errors(path: Path) -> Iterator[None]:
    """Turn what opening a file can raise into a `MediaError` with a short reason."""
    try:
        yield
    except FileNotFoundError as error:
        raise MediaError("missing", path.name) from error
    except PermissionError as error:
        raise MediaError("permission_denied", path.name) from error
    except (OSError, av.error.FFmpegError) as error:
        raise MediaError("unreadable", f"{path.name}: {error.strerror}") from error


def _packets(container: InputContainer) -> Iterator[av.Packet[av.VideoStream]]:
    """Packets of the video stream up to the first that cannot be read."""
    stream = container.streams.best("video")
    assert isinstance(stream, av.VideoStream)
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        return


def _decoded(container: InputContainer) -> Iterator[tuple[av.VideoFrame, bool]]:
    """Frames of the video stream, and whether each is intact.

    A decoder goes on after damage with frames that look up to lost or patched ones, and
    flags only the first; so nothing is trusted from the damage to the next keyframe.
    """
    damaged_from = math.inf
    for packet in _packets(container):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            damaged_from = min(damaged_from, _stamp(packet))
            continue
        for frame in frames:
            if frame.key_frame and _stamp(frame) > damaged_from:
                damaged_from = math.inf
            if frame.is_corrupt:
                damaged_from = min(damaged_from, _stamp(frame))
            yield frame, _stamp(frame) < damaged_from


def _stamp(item: av.VideoFrame | av.Packet[av.VideoStream]) -> float:
    """Timestamp; 0 where there is none: frames are counted then, and none after damage has a sure place."""
    return item.pts or 0


def _to_frame(frame: av.VideoFrame, index: int, limits: Limits, pixel_format: str) -> Frame:
    if frame.width * frame.height > limits.pixels:
        raise MediaError("too_large", f"{frame.width}x{frame.height} pixels")
    image = np.rot90(frame.to_ndarray(format=pixel_format), k=round(frame.rotation / 90) % 4)
    pts_ms = None if frame.time is None else 1000.0 * frame.time
    return Frame(index, pts_ms, np.ascontiguousarray(image))
