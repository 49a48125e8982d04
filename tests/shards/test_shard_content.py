"""A sample's JSON, and where its bytes come from."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmidd.engine import Blob, Ledger, Row
from mmidd.errors import DataError
from mmidd.schema import SIMULATED
from mmidd.shards.blobs import Packs
from mmidd.shards.content import json_of, not_finite

WIDE = st.none() | st.floats(allow_nan=True)
NARROW = st.none() | st.floats(width=32)
TYPES = {
    "text": pl.String(),
    "number": pl.Int64(),
    "wide": pl.Float64(),
    "narrow": pl.Float32(),
    "box": pl.Array(pl.Float32(), 2),
    "list": pl.List(pl.Float32()),
    "said": pl.List(pl.Struct({"from": pl.String(), "value": pl.Float64()})),
}
SAID = st.fixed_dictionaries({"from": st.text('é"\\\n'), "value": WIDE})
ROWS = st.fixed_dictionaries(
    {
        "text": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        "number": st.none() | st.integers(-(2**63), 2**63 - 1),
        "wide": WIDE,
        "narrow": NARROW,
        "box": st.none() | st.lists(NARROW, min_size=2, max_size=2),
        "list": st.none() | st.lists(NARROW, max_size=3),
        "said": st.none()
        | st.lists(st.fixed_dictionaries({"from": st.text('é"\\\n'), "value": WIDE}), max_size=2),
    }
)


def floats(value: Any) -> list[float]:
    if isinstance(value, dict):
        return floats(list(value.values()))
    if isinstance(value, list):
        return [number for part in value for number in floats(part)]
    return [value] if isinstance(value, float) else []


def narrowed(name: str, value: Any) -> Any:
    """The 64-bit number with the shortest text that means the 32-bit one."""
    if isinstance(value, list) and name in ("box", "list"):
        return [narrowed("narrow", part) for part in value]
    return float(str(np.float32(value))) if name == "narrow" and value is not None else value


@settings(max_examples=150)
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_json_has_the_values_of_the_row_and_what_it_cannot_say_is_found(rows: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(rows, schema=TYPES)
    bad = frame.select(not_finite(frame)).to_series().to_list()
    assert bad == [any(not math.isfinite(number) for number in floats(row)) for row in rows]
    good = [row for row, fault in zip(rows, bad, strict=True) if not fault]
    for row, text in zip(good, json_of(pl.DataFrame(good, schema=TYPES)), strict=True):
        said = json.loads(text)
        assert list(said) == sorted(TYPES)
        assert said == {name: narrowed(name, value) for name, value in row.items()}


@pytest.mark.parametrize("number", [math.nan, -math.inf])
@pytest.mark.parametrize("name", ["wide", "narrow", "box", "list", "said"])
def test_a_number_that_json_lacks_is_found_anywhere(name: str, number: float) -> None:
    good = {
        "wide": 0.5,
        "narrow": 0.5,
        "box": [1.0, 2.0],
        "list": [1.0, 2.0],
        "said": [{"from": "x", "value": 1.0}],
    }
    bad = {"wide": number, "narrow": number, "box": [1.0, number], "list": [None, number]}
    bad["said"] = [{"from": "x", "value": None}, {"from": "x", "value": number}]
    frame = pl.DataFrame([good, {**good, name: bad[name]}, dict.fromkeys(good)], schema_overrides=TYPES)
    assert frame.select(not_finite(frame)).to_series().to_list() == [False, True, False]


@pytest.fixture
def packs(tmp_path: Path) -> tuple[Packs, dict[str, Any]]:
    ledger = Ledger(tmp_path / "simulated" / "sbi", SIMULATED)
    with ledger.writing():
        blobs = (Blob(b"image" * 300, "jpg"), Blob(b"mask", "mask.png", "mask_"))
        ledger.commit([("u", 0, [Row({"sample_id": "a"}, blobs=blobs)])])
    row = ledger.scan().collect().row(0, named=True)
    return Packs(tmp_path), {**row, "table": "simulated/sbi"}


def test_packs_give_images_and_masks_also_in_another_process(packs: tuple[Packs, dict[str, Any]]) -> None:
    reader, row = packs
    for blobs in (reader, pickle.loads(pickle.dumps(reader))):
        assert (blobs.image(row), blobs.mask(row)) == (b"image" * 300, b"mask")


@pytest.mark.parametrize(("damage", "reason"), [("truncate", "pack_truncated"), ("unlink", "pack_missing")])
def test_a_damaged_pack_is_bad_data(packs: tuple[Packs, dict[str, Any]], damage: str, reason: str) -> None:
    reader, row = packs
    pack = reader._root / "simulated" / "sbi" / "packs" / row["pack"]
    pack.unlink() if damage == "unlink" else pack.write_bytes(pack.read_bytes()[:1000])
    with pytest.raises(DataError) as error:
        reader.image(row)
    assert error.value.reason == reason
