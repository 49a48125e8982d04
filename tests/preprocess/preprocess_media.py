"""Tiny media made on the spot: videos whose frames tell their index, and frames with a face."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.data import astronaut

Pixels = NDArray[np.uint8]

STEP = 5
"""Grey levels between one counted frame and the next."""

FACE_BOX = np.array([181, 78, 270, 167], np.float32)
"""The face in the portrait returned by `portrait`, x0 y0 x1 y1."""


def portrait() -> Pixels:
    """NASA's public domain portrait of Eileen Collins, uint8 (512, 512, 3)."""
    return np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]


def counted_frames(count: int, height: int = 48, width: int = 64) -> list[Pixels]:
    """Flat frames whose grey level tells their index."""
    return [np.full((height, width, 3), 20 + STEP * index, np.uint8) for index in range(count)]


def told_index(image: Pixels) -> int:
    """The index a counted frame tells."""
    return round((float(image.mean()) - 20) / STEP)


def write_video(
    path: Path, frames: Sequence[Pixels], *, faststart: bool = False, interval: int = 250
) -> Path:
    """Write H.264 with B-frames at 25 frames per second and one keyframe per `interval`."""
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(path, "w", options=options) as container:
        stream = container.add_stream(
            "libx264", rate=25, options={"crf": "8", "bf": "2", "g": str(interval), "sc_threshold": "0"}
        )
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def wipe_packets(path: Path, which: slice) -> None:
    """Overwrite coded frames, counted in file order, with zeros."""
    with av.open(path) as container:
        spans = [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for start, size in spans[which]:
        data[start : start + size] = bytes(size)
    path.write_bytes(data)


def shown_turned(path: Path, out: Path) -> Path:
    """The MP4 with a display matrix that turns it by 90 degrees clockwise."""
    data = bytearray(path.read_bytes())
    one = 1 << 16  # the matrix is in 16.16 fixed point, its last element in 2.30
    upright = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    at = data.index(upright, data.index(b"tkhd"))
    data[at : at + len(upright)] = turned
    out.write_bytes(data)
    return out


def scene(
    place: tuple[int, int], scale: float = 1.0, canvas: Pixels | None = None
) -> tuple[Pixels, NDArray[np.float32]]:
    """A 640x360 frame with the portrait's face at `place` (its top left corner), and its box."""
    canvas = np.full((360, 640, 3), 90, np.uint8) if canvas is None else canvas.copy()
    head = portrait()[30:220, 140:310]
    head = cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
    x, y = place
    canvas[y : y + head.shape[0], x : x + head.shape[1]] = head
    offset = np.array([140, 30, 140, 30], np.float32)
    return canvas, (FACE_BOX - offset) * np.float32(scale) + np.array([x, y, x, y], np.float32)
