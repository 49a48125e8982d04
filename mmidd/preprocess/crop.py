"""Cut a face out of a frame, and encode and decode crops.

All matrices map pixel centres: (0, 0) is the centre of the top left pixel.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from mmidd.errors import MediaError
from mmidd.preprocess.decode import decode_still
from mmidd.preprocess.detectors.base import Face, Floats, Pixels
from mmidd.spec import PreprocessSpec

TEMPLATE = np.array([(0.34, 0.46), (0.66, 0.46), (0.5, 0.64), (0.37, 0.82), (0.63, 0.82)])
"""Eye centres, nose tip and mouth corners in a crop of side 1 and margin 1, as GenD aligns faces
(Yermakov et al., arXiv 2508.06248)."""

WEBP_LOSSLESS = 101
"""OpenCV writes lossless WebP for any quality above 100."""

Matrix = NDArray[np.float64]


def crop_face(image: Pixels, face: Face, spec: PreprocessSpec) -> tuple[Pixels, Matrix]:
    """Cut out the face as the spec says.

    Args:
        image: uint8 (H, W, 3) RGB.
        face: the face, in pixels of `image`; with `spec.align` it needs `landmarks5`.
        spec: margin, size and alignment.

    Returns:
        The crop, uint8 (size, size, 3), and the float64 (2, 3) affine from image to crop pixels.

    Raises:
        ValueError: alignment is asked for a face without landmarks.
    """
    if not spec.align:
        return crop_box(image, face.box, spec.margin, spec.size)
    if face.landmarks5 is None:
        raise ValueError("alignment needs a detector with landmarks")
    return crop_aligned(image, face.landmarks5, spec.margin, spec.size)


def crop_box(image: Pixels, box: Floats, margin: float, size: int) -> tuple[Pixels, Matrix]:
    """Resize the square of side `margin` x the longer side of the box, around its centre.

    The square is rounded to whole pixels; beyond the frame the image is mirrored, so that
    no black corner tells where the face was.
    """
    side = max(1, round(margin * float(np.max(box[2:] - box[:2]))))
    x0, y0 = (round(float(centre) - side / 2) for centre in (box[:2] + box[2:]) / 2)
    height, width = image.shape[:2]
    if min(x0, y0) >= 0 and x0 + side <= width and y0 + side <= height:
        window = image[y0 : y0 + side, x0 : x0 + side]
    else:
        window = image[np.ix_(_mirrored(y0, side, height), _mirrored(x0, side, width))]
    scale = size / side
    matrix = np.array([[scale, 0, _shift(scale) - scale * x0], [0, scale, _shift(scale) - scale * y0]])
    return _resized(window, size), matrix


def crop_aligned(image: Pixels, landmarks5: Floats, margin: float, size: int) -> tuple[Pixels, Matrix]:
    """Warp by the similarity that best fits the landmarks to `TEMPLATE`.

    `TEMPLATE` describes the crop at margin 1; a wider margin shrinks it around the centre.
    A face larger than the crop is warped to a multiple of its size first and then averaged
    down, since a plain warp would alias.
    """
    target = ((TEMPLATE - 0.5) / margin + 0.5) * size - 0.5
    matrix = _similarity(landmarks5.astype(np.float64), target)
    factor = max(1, math.ceil(1 / math.hypot(matrix[0, 0], matrix[1, 0])))
    larger = factor * matrix + [[0, 0, _shift(factor)]] * 2
    side = factor * size
    warped = cv2.warpAffine(
        image, larger, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return _resized(np.asarray(warped, dtype=np.uint8), size), matrix


def encode_image(crop: Pixels, spec: PreprocessSpec) -> bytes:
    """Encode uint8 (H, W, 3) RGB as the spec says: JPEG 4:4:4, PNG or lossless WebP."""
    if spec.encoding == "jpeg":
        return bytes(
            simplejpeg.encode_jpeg(np.ascontiguousarray(crop), quality=spec.quality, colorsubsampling="444")
        )
    options = [cv2.IMWRITE_WEBP_QUALITY, WEBP_LOSSLESS] if spec.encoding == "webp" else []
    _, encoded = cv2.imencode(f".{spec.encoding}", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), options)
    return encoded.tobytes()


def encode_mask(mask: NDArray[np.uint8]) -> bytes:
    """Encode a soft mask, uint8 (H, W), as grey PNG."""
    _, encoded = cv2.imencode(".png", mask)
    return encoded.tobytes()


def decode_image(data: bytes) -> Pixels:
    """Decode the bytes of a stored crop to uint8 (H, W, 3) RGB.

    A pass-through still may be of any format, so all but plain JPEG goes the way of stills.

    Raises:
        MediaError: the bytes cannot be decoded.
    """
    if not _is_plain_jpeg(data):
        return decode_still(data)
    try:
        return np.asarray(simplejpeg.decode_jpeg(data), dtype=np.uint8)
    except ValueError as error:
        raise MediaError("unreadable", str(error)) from error


def _is_plain_jpeg(data: bytes) -> bool:
    """A JPEG without EXIF (which may rotate it) and in three colours."""
    if not data.startswith(b"\xff\xd8") or b"Exif" in data[:4096]:
        return False
    try:
        return bool(simplejpeg.decode_jpeg_header(data)[2] == "YCbCr")
    except ValueError:
        return False


def _mirrored(start: int, count: int, length: int) -> NDArray[np.int64]:
    """Positions start..start+count in an axis of `length`, mirrored at its ends without repeating them."""
    period = max(2 * (length - 1), 1)
    position = np.arange(start, start + count) % period
    return np.minimum(position, period - position)


def _shift(scale: float) -> float:
    """Offset that keeps pixel centres in place when an axis is scaled around its outer edge."""
    return (scale - 1) / 2


def _resized(window: Pixels, size: int) -> Pixels:
    if window.shape[:2] == (size, size):
        return np.ascontiguousarray(window)
    shrinks = size < window.shape[0]
    resized = cv2.resize(window, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.asarray(resized, dtype=np.uint8)


def _similarity(source: Matrix, target: Matrix) -> Matrix:
    """Least-squares rotation, scale and shift (2, 3) from points to points."""
    ones, zeros = np.ones(len(source)), np.zeros(len(source))
    x, y = source.T
    system = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
    (a, b, dx, dy), *_ = np.linalg.lstsq(system, target.T.ravel(), rcond=None)
    return np.array([[a, -b, dx], [b, a, dy]])
