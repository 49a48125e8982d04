"""A virtual camera over a portrait on a background, and the encoder of its clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mmidd.demo.forge import Still
from mmidd.demo.portraits import TILE, Pixels, Points
from mmidd.demo.warp import to_pixels

_SIZES = ((480, 480), (512, 480), (560, 480), (640, 480))
_PAD = 0.14


@dataclass(frozen=True)
class Scene:
    """Everything of a clip but the portrait: the real and all its fakes share one.

    Attributes:
        size: width and height of the frames.
        background: RGB canvas, larger than a frame by a margin for the camera's moves.
        place: 2x3 affine from tile to canvas pixels.
        path: 2x3 affine from frame to canvas pixels for every frame, (frames, 2, 3).
        gain: brightness of every frame, about 1, (frames,).
        grain: sensor noise in grey levels, larger than a frame.
        shifts: offset into `grain` of every frame, (frames, 2).
    """

    size: tuple[int, int]
    background: Pixels
    place: NDArray[np.float64]
    path: NDArray[np.float64]
    gain: NDArray[np.float64]
    grain: NDArray[np.float32]
    shifts: NDArray[np.int64]

    @classmethod
    def draw(cls, rng: np.random.Generator, frames: int, size: tuple[int, int] | None = None) -> Scene:
        """Draws a scene; `size` fixes the frame's width and height."""
        width, height = size or _SIZES[rng.integers(len(_SIZES))]
        pad = round(_PAD * max(width, height))
        canvas = (width + 2 * pad, height + 2 * pad)
        grain = rng.normal(0, rng.uniform(1, 4), (height + 64, width + 64, 3)).astype(np.float32)
        return cls(
            size=(width, height),
            background=_background(rng, canvas),
            place=_place(rng, canvas, min(width, height)),
            path=_path(rng, frames, (width, height), pad),
            gain=1 + rng.uniform(0.01, 0.08) * np.sin(_ramp(frames, rng.uniform(0.5, 4), rng.uniform(0, 6))),
            grain=grain,
            shifts=rng.integers(0, 64, (frames, 2)),
        )

    def film(self, still: Still) -> Iterator[Pixels]:
        """The frames of a still in this scene, RGB."""
        canvas = self._paste(still.image, still.matte)
        height, width = self.size[1], self.size[0]
        for matrix, gain, (row, column) in zip(self.path, self.gain, self.shifts, strict=True):
            seen = self._see(canvas, matrix) * np.float32(gain)
            yield to_pixels(seen + self.grain[row : row + height, column : column + width])

    def film_region(self, still: Still) -> Iterator[Pixels]:
        """The forged region as white on black, frame by frame as `film` shows it."""
        size = self.background.shape[1::-1]
        canvas = np.asarray(cv2.warpAffine(still.region, self.place, size), np.uint8)
        for matrix in self.path:
            seen = (self._see(canvas, matrix) > 127).astype(np.uint8) * np.uint8(255)
            yield np.repeat(seen[..., None], 3, axis=2)

    def locate(self, points: Points, frame: int = 0) -> Points:
        """Tile points (n, 2) as pixels of a frame."""
        canvas = cv2.transform(points[None], self.place)
        return np.asarray(cv2.transform(canvas, cv2.invertAffineTransform(self.path[frame]))[0], np.float32)

    def _paste(self, image: Pixels, matte: Pixels) -> Pixels:
        size = self.background.shape[1::-1]
        placed = cv2.warpAffine(
            image, self.place, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        ).astype(np.float32)
        weight = cv2.warpAffine(matte, self.place, size).astype(np.float32)[..., None] / 255
        return to_pixels(weight * placed + (1 - weight) * self.background)

    def _see(self, canvas: Pixels, matrix: NDArray[np.float64]) -> Pixels:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(canvas, matrix, self.size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(seen, np.uint8)


def write_video(path: Path, frames: Iterable[Pixels], fps: int, crf: int = 23) -> None:
    """Encodes RGB frames as H.264 in one thread, so that equal frames give equal bytes.

    Args:
        path: an .mp4 file (H.264) or an .avi file (motion JPEG); parent folders are made.
        frames: equally sized RGB images, width and height even.
        fps: frames per second.
        crf: x264's constant rate factor; 23 is FaceForensics++'s c23. An .avi has no use for it.
    """
    import av
    from av.video.stream import VideoStream

    path.parent.mkdir(parents=True, exist_ok=True)
    # x264's macroblock tree reads memory it never wrote: with it, equal frames may give other bytes.
    h264 = {"crf": str(crf), "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
    mjpeg = {"qmin": "3", "qmax": "3", "threads": "1"}
    is_avi = path.suffix == ".avi"
    codec, layout, options = ("mjpeg", "yuvj420p", mjpeg) if is_avi else ("libx264", "yuv420p", h264)
    stream: VideoStream | None = None
    with av.open(str(path), "w") as container:
        for image in frames:
            if stream is None:
                added = container.add_stream(codec, rate=Fraction(fps), options=options)
                assert isinstance(added, VideoStream)
                stream = added
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = layout
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        if stream is not None:
            container.mux(stream.encode())


def _ramp(frames: int, cycles: float, phase: float) -> NDArray[np.float64]:
    return np.asarray(np.linspace(0, cycles, frames) + phase)


def _background(rng: np.random.Generator, size: tuple[int, int]) -> Pixels:
    """A backdrop of random colour with gradients and texture at several scales, mostly of lightness."""
    colour = rng.uniform(50, 205) + rng.normal(0, 25, 3)
    total = np.full((size[1], size[0], 3), colour, np.float32)
    for cells, amplitude in ((2, 25), (5, 20), (24, rng.uniform(0, 20)), (110, rng.uniform(0, 14))):
        noise = rng.normal(0, amplitude, (cells, cells, 1)) + rng.normal(0, amplitude / 3, (cells, cells, 3))
        total = total + cv2.resize(noise.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    return to_pixels(total)


def _place(rng: np.random.Generator, canvas: tuple[int, int], side: int) -> NDArray[np.float64]:
    """Tile to canvas: the face is a fifth to a third of the frame wide, somewhere near the middle."""
    scale = side * rng.uniform(0.24, 0.36) / 160
    matrix = _turned((TILE[0] / 2, TILE[1] / 2), rng.uniform(-6, 6), scale)
    matrix[:, 2] += np.array(canvas) / 2 - np.array(TILE) / 2 + rng.uniform(-0.09, 0.09, 2) * side
    return matrix


def _path(rng: np.random.Generator, frames: int, size: tuple[int, int], pad: int) -> NDArray[np.float64]:
    """Slow zoom, pan and rotation that stay inside the canvas."""
    start, end = (rng.uniform(-1, 1, 4) for _ in range(2))
    t = np.linspace(0, 1, frames)[:, None]
    shake = np.sin(_ramp(frames, rng.uniform(2, 8), rng.uniform(0, 6)))[:, None] * rng.uniform(-0.15, 0.15, 4)
    drift = (1 - t) * start + t * end + shake
    matrices = np.empty((frames, 2, 3))
    for k, (turn, zoom, x, y) in enumerate(drift):
        matrix = _turned((size[0] / 2, size[1] / 2), 3 * turn, 1 + 0.04 * zoom)
        matrix[:, 2] += pad + 0.035 * np.array((x, y)) * max(size)
        matrices[k] = matrix
    return matrices


def _turned(centre: tuple[float, float], degrees: float, scale: float) -> NDArray[np.float64]:
    return np.asarray(cv2.getRotationMatrix2D(centre, degrees, scale), np.float64)
