"""From a stored record to pixels and metadata."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import orjson
import simplejpeg
from numpy.typing import NDArray

from mmidd.errors import DataError
from mmidd.preprocess.decode import decode_still
from mmidd.shards.tar import Record

_SCAN = b"\xff\xda"  # what follows is compressed pixels


def decode_image(record: Record, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Decode a record's image to RGB uint8 (H, W, 3), upright.

    Args:
        record: what is stored.
        out: (h, w, 3), contiguous; where a JPEG of that size is decoded to, and then what is returned.

    Raises:
        DataError: the image is damaged.
    """
    data = bytes(record.image)
    if record.extension != "jpg" or data.find(b"Exif\0", 0, data.find(_SCAN)) >= 0:
        return decode_still(data)
    try:
        fits = out is not None and simplejpeg.decode_jpeg_header(data)[:2] == out.shape[:2]
        image = simplejpeg.decode_jpeg(data, colorspace="RGB", buffer=out if fits else None)
    except ValueError as error:
        raise DataError("damaged_image", str(error)) from error
    return out if fits and out is not None else np.asarray(image)


def decode_mask(record: Record) -> NDArray[np.uint8] | None:
    """Decode a record's mask to uint8 (H, W); None where it has none.

    Raises:
        DataError: the mask is damaged.
    """
    if record.mask is None:
        return None
    mask = cv2.imdecode(np.frombuffer(record.mask, np.uint8), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DataError("damaged_mask", "not a PNG")
    return np.asarray(mask, dtype=np.uint8)


def decode_json(record: Record) -> dict[str, Any]:
    """Parse a record's metadata.

    Raises:
        DataError: it is no JSON object.
    """
    try:
        row = orjson.loads(record.json)
    except orjson.JSONDecodeError as error:
        raise DataError("damaged_json", str(error)) from error
    if not isinstance(row, dict):
        raise DataError("damaged_json", "not an object")
    return row
