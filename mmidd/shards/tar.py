"""Members of POSIX USTAR files at known offsets."""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass

from mmidd.errors import DataError

Buffer = bytes | bytearray | memoryview

MASK_EXTENSION = "mask.png"


@dataclass(frozen=True, slots=True)
class Span:
    """Where a sample's members lie in its shard: offset and length of their data in bytes.

    The mask of a simulated forgery lies between image and JSON; its length is 0 where there is none.
    """

    image_offset: int
    image_length: int
    mask_offset: int
    mask_length: int
    json_offset: int
    json_length: int


@dataclass(frozen=True, slots=True)
class Record:
    """A sample as stored: the image's extension and the bytes of the members."""

    extension: str
    image: memoryview
    json: memoryview
    mask: memoryview | None = None


def read_record(file: int, key: str, span: Span) -> Record:
    """Read one sample with a single `pread` and check its tar headers.

    Args:
        file: descriptor of the shard.
        key: the key that the members must have.
        span: where the index says they lie.

    Raises:
        DataError: the shard ends early, or has something else at these offsets.
    """
    start = span.image_offset - tarfile.BLOCKSIZE
    try:
        data = memoryview(os.pread(file, span.json_offset + span.json_length - start, start))
    except (OSError, OverflowError, ValueError) as error:
        raise DataError("unreadable", str(error)) from error
    json_start, mask_start = span.json_offset - start, span.mask_offset - start
    if len(data) < json_start + span.json_length:
        raise DataError("truncated", f"the shard ends before byte {span.json_offset + span.json_length}")
    extension = _check_header(data[: tarfile.BLOCKSIZE], key, span.image_length)
    if _check_header(data[json_start - tarfile.BLOCKSIZE : json_start], key, span.json_length) != "json":
        raise DataError("bad_header", "no JSON member follows the image")
    image, mask = data[tarfile.BLOCKSIZE :][: span.image_length], None
    if span.mask_length:
        header = data[mask_start - tarfile.BLOCKSIZE : mask_start]
        if _check_header(header, key, span.mask_length) != MASK_EXTENSION:
            raise DataError("bad_header", "no mask follows the image")
        mask = data[mask_start:][: span.mask_length]
    return Record(extension, image, data[json_start:], mask)


def _check_header(block: memoryview, key: str, length: int) -> str:
    """Check a member's header against the index; gives the extension."""
    name = bytes(block[:100]).rstrip(b"\0").decode("ascii", "replace")
    stem, _, extension = name.partition(".")
    if bytes(block[257:262]) != b"ustar" or stem != key or bytes(block[124:135]) != b"%011o" % length:
        raise DataError("bad_header", f"found {name!r} where {key} should be")
    return extension
