"""Read samples from shards by index, in any order and from any number of processes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg
from numpy.typing import NDArray

from mmidd.errors import DataError
from mmidd.preprocess.decode import decode_still
from mmidd.schema import Simulated, Split
from mmidd.shards.index import ShardIndex, read_entries
from mmidd.shards.tar import Record, Span, read_record
from mmidd.spec import PreprocessSpec

_SPAN = tuple(Span.__dataclass_fields__)


@dataclass(frozen=True)
class ShardSample:
    """One sample: its key, RGB image uint8 (H, W, 3), and its manifest row with captions.

    A simulated forgery has its soft mask too, uint8 (H, W).
    """

    key: str
    image: NDArray[np.uint8]
    row: dict[str, Any]
    mask: NDArray[np.uint8] | None = None


class ShardDataset:
    """The samples of one split, map style; it pickles, and opens shards when first read.

    Args:
        folder: the folder of shards.
        split: which samples to read.
        simulated: whether self-blended forgeries and their pristine twins are among them.

    Raises:
        UsageError: the folder has no index that this version reads.
    """

    def __init__(self, folder: Path, split: Split, simulated: Simulated = Simulated.INCLUDE) -> None:
        index = ShardIndex.load(folder)
        self.folder = folder
        self.split = split
        self.spec: PreprocessSpec = index.spec
        self._entries = _chosen(read_entries(folder, split), simulated).combine_chunks()
        self._spans = np.stack([self._entries[name].to_numpy() for name in _SPAN], axis=1)
        self._files: dict[str, int] = {}

    @cached_property
    def rows(self) -> pl.DataFrame:
        """Keys and label columns, one row per sample, in the order of the indices."""
        return pl.DataFrame(self._entries.drop_columns(list(_SPAN)))

    def at(self, epoch: int) -> ShardDataset:
        """The samples, which are the same in every epoch."""
        return self

    def __len__(self) -> int:
        return int(self._entries.num_rows)

    def __getitem__(self, index: int) -> ShardSample:
        """Read and decode one sample.

        Raises:
            DataError: the record is damaged; names shard and key.
            IndexError: there is no such sample.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        key, shard = (self._entries[name][index].as_py() for name in ("key", "shard"))
        try:
            record = read_record(self._open(shard), key, Span(*self._spans[index].tolist()))
            return ShardSample(key, decode_image(record), decode_json(record), decode_mask(record))
        except DataError as error:
            raise DataError(error.reason, f"sample {key} in {self.folder / shard}: {error.detail}") from error

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}}

    def __del__(self) -> None:
        for file in self.__dict__.get("_files", {}).values():
            os.close(file)

    def _open(self, shard: str) -> int:
        if shard not in self._files:
            try:
                self._files[shard] = os.open(self.folder / shard, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise DataError("missing_shard", error.strerror or str(error)) from error
        return self._files[shard]


def _chosen(entries: pa.Table, simulated: Simulated) -> pa.Table:
    if simulated is Simulated.INCLUDE:
        return entries
    is_source = pc.is_null(entries["recipe"])
    return entries.filter(is_source if simulated is Simulated.EXCLUDE else pc.invert(is_source))


def decode_image(record: Record) -> NDArray[np.uint8]:
    """Decode a record's image to RGB uint8 (H, W, 3), upright.

    Raises:
        DataError: the image is damaged.
    """
    data = bytes(record.image)
    if record.extension != "jpg" or b"Exif\0" in data:
        return decode_still(data)
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB"))
    except ValueError as error:
        raise DataError("damaged_image", str(error)) from error


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
        row = json.loads(bytes(record.json))
    except ValueError as error:
        raise DataError("damaged_json", str(error)) from error
    if not isinstance(row, dict):
        raise DataError("damaged_json", "not an object")
    return row
