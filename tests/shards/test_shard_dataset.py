from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmidd.errors import DataError, UsageError
from mmidd.schema import Simulated, Split
from mmidd.shards.dataset import ShardDataset
from mmidd.shards.decode import decode_image
from mmidd.shards.entries import Entries, mapped
from mmidd.shards.index import ENTRIES, read_entries
from mmidd.shards.tar import Record
from mmidd.storage import Cache
from tests.shards.shard_world import World


def test_samples_are_those_of_the_split(world: World, shards: Path) -> None:
    dataset = ShardDataset(shards, Split.VAL)
    expected = world.rows.filter(pl.col("split") == "val")
    assert len(dataset) == len(dataset.rows) == expected.height
    assert set(dataset.rows["key"]) == set(expected["sample_id"])
    for i in range(len(dataset)):
        sample = dataset[i]
        row = expected.row(by_predicate=pl.col("sample_id") == sample.key, named=True)
        assert dataset.rows["key"][i] == sample.key == sample.row["sample_id"]
        assert dataset.rows["label"][i] == sample.row["label"] == row["label"]
        assert sample.row["face"] == row["face"]
        reference = np.asarray(Image.open(BytesIO(world.blobs[sample.key])))
        assert sample.image.dtype == np.uint8
        assert np.abs(sample.image.astype(int) - reference).max() <= 1


def test_simulations_can_be_left_out_or_be_all_there_is(world: World, tmp_path: Path) -> None:
    recipe = pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("sbi"))
    mixed = replace(world, rows=world.rows.with_columns(recipe=recipe))
    mixed.write(tmp_path)
    keys = {how: set(ShardDataset(tmp_path, Split.TRAIN, how).rows["key"]) for how in Simulated}
    train = mixed.rows.filter(pl.col("split") == "train")
    assert keys[Simulated.ONLY] == set(train.filter(pl.col("recipe") == "sbi")["sample_id"])
    assert keys[Simulated.EXCLUDE] == set(train.filter(pl.col("recipe").is_null())["sample_id"])
    assert keys[Simulated.INCLUDE] == set(train["sample_id"])


def test_the_spec_travels(world: World, shards: Path) -> None:
    assert ShardDataset(shards, Split.TRAIN).spec == world.spec


def test_an_absent_split_is_empty_and_indices_are_checked(shards: Path) -> None:
    dataset = ShardDataset(shards, Split.TEST)
    assert len(dataset) == 0
    with pytest.raises(IndexError):
        dataset[0]


def test_a_used_dataset_pickles(shards: Path) -> None:
    dataset = ShardDataset(shards, Split.TRAIN)
    first = dataset[0]
    again = pickle.loads(pickle.dumps(dataset))[0]
    assert again.key == first.key
    assert np.array_equal(again.image, first.image)


@pytest.mark.parametrize("damage", ["header", "image", "json", "truncated", "missing"])
def test_a_damaged_record_names_shard_and_key(shards: Path, damage: str) -> None:
    dataset = ShardDataset(shards, Split.TRAIN)
    entry = pl.DataFrame(read_entries(shards, Split.TRAIN)).row(3, named=True)
    path = shards / entry["shard"]
    data = bytearray(path.read_bytes())
    match damage:
        case "header":
            data[entry["image_offset"] - 512] = 0
        case "image":
            data[entry["image_offset"] : entry["image_offset"] + 40] = bytes(40)
        case "json":
            data[entry["json_offset"]] = 0
        case "truncated":
            del data[entry["json_offset"] + 2 :]
    path.write_bytes(data)
    if damage == "missing":
        path.unlink()
    with pytest.raises(DataError) as error:
        dataset[3]
    assert entry["shard"] in str(error.value)
    assert entry["key"] in str(error.value)


@pytest.mark.parametrize("extension", ["png", "webp"])
def test_lossless_encodings_decode_to_the_same_pixels(extension: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, extension, **({"lossless": True} if extension == "webp" else {}))
    assert np.array_equal(
        decode_image(Record(extension, memoryview(buffer.getvalue()), memoryview(b"{}"))), image
    )


def test_grey_cmyk_and_turned_jpegs_become_upright_rgb() -> None:
    red = Image.new("RGB", (16, 8), (200, 30, 30))
    turned = Image.Exif()
    turned[0x0112] = 6
    for image, options, shape in (
        (red, {}, (8, 16, 3)),
        (red.convert("L"), {}, (8, 16, 3)),
        (red.convert("CMYK"), {}, (8, 16, 3)),
        (red, {"exif": turned}, (16, 8, 3)),
    ):
        buffer = BytesIO()
        image.save(buffer, "jpeg", quality=95, **options)
        decoded = decode_image(Record("jpg", memoryview(buffer.getvalue()), memoryview(b"{}")))
        assert decoded.shape == shape
        want = (200, 30, 30) if image.mode != "L" else (81, 81, 81)
        assert np.abs(decoded.astype(int) - want).max() < 12


def test_reading_shards_imports_no_torch() -> None:
    modules = "mmidd.shards.stream, mmidd.shards.writer, mmidd.shards.verify, mmidd.training.prepare"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_table_of_samples_is_mapped_once_and_checked(shards: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    first = ShardDataset(shards, Split.TRAIN, cache=cache)
    (file,) = (tmp_path / "cache" / "index").iterdir()
    before = file.stat().st_ino
    again = ShardDataset(shards, Split.TRAIN, cache=cache)
    assert again.rows.equals(first.rows)
    assert file.stat().st_ino == before
    data = bytearray((shards / "samples.parquet").read_bytes())
    data[100] ^= 1
    (shards / "samples.parquet").write_bytes(data)
    with pytest.raises(UsageError, match=r"not the one that index\.json names"):
        ShardDataset(shards, Split.TRAIN, cache=Cache(tmp_path / "other"))


def test_rows_of_many_record_batches_are_those_of_the_parquet_file(tmp_path: Path) -> None:
    count = 3 * (1 << 16) + 5
    table = pa.table(
        {
            field.name: np.arange(count) if pa.types.is_integer(field.type) else pa.nulls(count)
            for field in ENTRIES
            if field.nullable or pa.types.is_integer(field.type)
        }
        | {"key": [f"k{n}" for n in range(count)], "shard": ["train-00000.tar"] * count}
    )
    parquet = tmp_path / "samples.parquet"
    pq.write_table(table.select(ENTRIES.names).cast(ENTRIES), parquet, row_group_size=50_000)
    path = mapped(lambda: parquet, hashlib.sha256(parquet.read_bytes()).hexdigest(), tmp_path)
    entries = Entries(path, 7, count, Simulated.INCLUDE)
    for index in (0, (1 << 16) - 8, (1 << 16) - 7, 150_000, count - 8):
        key, _, span = entries.at(index)
        assert (key, span.image_offset, span.json_length) == (f"k{index + 7}", index + 7, index + 7)
    assert len(entries) == len(entries.column("key")) == count - 7


def test_a_shard_that_cannot_be_used_is_asked_for_once(shards: Path) -> None:
    dataset = ShardDataset(shards, Split.TRAIN)
    name = dataset.rows["shard"][0]
    (shards / name).rename(shards / "aside")
    with pytest.raises(DataError, match="missing"):
        dataset[0]
    (shards / "aside").rename(shards / name)
    with pytest.raises(DataError, match=f"missing.*{name}"):
        dataset[1]
    assert ShardDataset(shards, Split.TRAIN)[1].key == dataset.rows["key"][1]


def test_an_image_is_decoded_in_place_where_it_fits() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    for extension, kind in (("jpg", "jpeg"), ("png", "png")):
        buffer = BytesIO()
        Image.fromarray(image).save(buffer, kind)
        record = Record(extension, memoryview(buffer.getvalue()), memoryview(b"{}"))
        expected = decode_image(record)
        fits, other = (np.zeros(shape, dtype=np.uint8) for shape in ((16, 24, 3), (24, 16, 3)))
        placed = decode_image(record, fits)
        assert np.array_equal(placed, expected)
        assert (placed is fits) == (extension == "jpg")
        assert np.array_equal(decode_image(record, other), expected)
        assert not other.any()
