"""The dataset card and the Croissant metadata, read back by the libraries they are for."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import datasets
import mlcroissant
import numpy as np
import polars as pl
import pytest
import yaml

from mmidd.errors import UsageError
from mmidd.schema import Split
from mmidd.shards.contents import TERMS, Contents
from mmidd.shards.dataset import ShardDataset
from mmidd.shards.front_matter import front_matter
from mmidd.shards.index import ShardIndex, read_entries
from mmidd.shards.verify import verify_shards
from tests.shards.shard_world import World

DOCUMENTS = ("README.md", "croissant.json")
LEFT_OUT = {"without a split": 3, "not matching --where": 4}
MASK = cv2.imencode(".png", np.arange(1024, dtype=np.uint8).reshape(32, 32))[1].tobytes()


@pytest.fixture(scope="module")
def rich(world: World) -> World:
    """A world with simulations, notes and licences in some rows only, mostly late ones, and one bad row."""
    every = pl.int_range(pl.len())
    talk = pl.lit(
        [{"from": "human", "value": "<image>\nReal? é"}, {"from": "gpt", "value": "No."}],
        dtype=pl.List(pl.Struct({"from": pl.String, "value": pl.String})),
    )
    simulated = every % 4 == 0
    rows = world.rows.with_columns(
        recipe=pl.when(simulated).then(pl.lit("sbi")),
        mask_sha256=pl.when(simulated).then(pl.lit(hashlib.sha256(MASK).hexdigest())),
        conversations=pl.when(simulated).then(talk),
        label_note=pl.when(every % 20 == 7).then(pl.lit("not sure")),
        method=pl.when(every % 2 == 0).then(pl.lit("a|b")),
        source=pl.when(every % 3 == 0).then(pl.lit("mine")).otherwise("source"),
        licence=pl.when(every % 5 == 1).then(pl.lit("CC BY 2.0")),
    )
    bad = world.rows["sample_id"][11]
    return replace(world, rows=rows).changed(bad, det_score=float("nan"))


def write(world: World, out: Path, **options: Any) -> Path:
    replace(world, masks=MASK).write(out, left_out=LEFT_OUT, **options)
    return out


@pytest.fixture(scope="module")
def folder(rich: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(rich, tmp_path_factory.mktemp("card") / "shards")


@pytest.fixture(scope="module")
def stored(folder: Path) -> list[dict[str, Any]]:
    """The JSON of every sample, read from the tars with the standard library."""
    rows = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            files = (tar.extractfile(member) for member in tar if member.name.endswith(".json"))
            rows += [json.load(file) for file in files if file]
    return rows


def tables(folder: Path) -> dict[str, dict[str, list[str]]]:
    """The card's tables by their first heading; the lines by their first cell."""
    found: dict[str, dict[str, list[str]]] = {}
    text = (folder / "README.md").read_text()
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        cells = [re.split(r" (?<!\\)\| ", line[2:-2]) for line in table.splitlines()]
        found[cells[0][0]] = {first: rest for first, *rest in [cells[0], *cells[2:]]}
    return found


@pytest.mark.parametrize("column", ["label", "type", "source", "method", "compression"])
def test_the_card_counts_what_the_tars_hold(folder: Path, stored: list[dict[str, Any]], column: str) -> None:
    table = tables(folder)[column]
    assert table.pop(column) == ["train", "val", "all"]
    counts = Counter((row[column], row["split"]) for row in stored)
    want = {}
    for value in {value for value, _ in counts}:
        per_split = [counts[value, split] for split in ("train", "val")]
        want[str(value or "not stated").replace("|", r"\|")] = [*map(str, per_split), str(sum(per_split))]
    assert {name.partition(" (")[0]: line for name, line in table.items()} == want


def test_the_card_tells_simulations_captions_and_what_was_left_out(
    folder: Path, stored: list[dict[str, Any]]
) -> None:
    text, found = (folder / "README.md").read_text(), tables(folder)
    simulated = sum(row["recipe"] is not None for row in stored)
    faces = sum(row["face"] is not None for row in stored)
    assert f"{simulated} samples are simulated, {simulated} have a soft mask" in text
    assert f"{faces} have a caption of the face" in text
    assert found["recipe"]["sbi"] == ["fake", str(simulated)]
    reasons = {"without a split": ["3"], "not matching --where": ["4"], "not_json": ["1"]}
    assert found["what or why"] == {"what or why": ["rows"], **reasons}
    assert found["choice"]["size"] == ["32"]
    index = ShardIndex.load(folder)
    assert index.spec_id in text
    assert index.samples_sha256 in text


def test_the_terms_are_those_of_the_source_and_of_its_samples(rich: World, tmp_path: Path) -> None:
    number = pl.int_range(pl.len())
    licence = (
        pl.when(number % 2 == 1).then(pl.format("licence {}", number)).otherwise(pl.lit("most frequent"))
    )
    sources = pl.when(number < 30).then(pl.lit("ffhq")).otherwise(pl.lit("ffpp"))
    rows = rich.rows.with_columns(source=sources, licence=pl.when(number < 30).then(licence))
    out = write(replace(rich, rows=rows), tmp_path / "out")
    terms = tables(out)["dataset"]
    text = (out / "README.md").read_text()
    assert TERMS in text
    (line,) = re.findall(r"^\| ffhq \| Flickr-Faces-HQ.*", text, re.MULTILINE)
    assert "CC BY-NC-SA 4.0; most frequent; licence 1; " in line
    assert "; and 8 more" in line
    # the user's own: a source called by an alias of ff++ is not ff++
    assert terms["ffpp"] == ["not stated", "30", "not stated"]


def test_documents_are_the_same_wherever_and_whenever_they_are_written(
    rich: World, folder: Path, tmp_path: Path
) -> None:
    mixed = rich.rows.select(sorted(rich.rows.columns)).sample(fraction=1.0, shuffle=True, seed=1)
    again = write(replace(rich, rows=mixed), tmp_path / "elsewhere" / "other")
    for name in DOCUMENTS:
        text = (folder / name).read_text()
        assert (again / name).read_text() == text
        assert str(folder.parent) not in text
        assert not re.search(r"\b20\d\d-\d\d", text)


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("damage", ["missing_document", "wrong_hash"])
def test_verify_names_a_document_that_is_not_as_written(
    rich: World, tmp_path: Path, name: str, damage: str
) -> None:
    out = write(rich, tmp_path / "out")
    assert verify_shards(out, full=True) == []
    (out / name).unlink() if damage == "missing_document" else (out / name).write_bytes(b"{}")
    assert [(problem.where, problem.reason) for problem in verify_shards(out, full=False)] == [(name, damage)]


def test_an_index_without_documents_is_of_another_version(rich: World, tmp_path: Path) -> None:
    out = write(rich, tmp_path / "out")
    index = json.loads((out / "index.json").read_text())
    del index["documents"]
    (out / "index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match="another version"):
        verify_shards(out, full=False)


@pytest.mark.parametrize(
    ("rows", "category"), [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K")]
)
def test_the_size_category_is_that_of_the_hub(folder: Path, rows: int, category: str) -> None:
    frame = pl.DataFrame({"sample_id": ["x"] * rows})
    text = front_matter(Contents(ShardIndex.load(folder), frame, ("jpg", "json"), 0, {}))
    assert yaml.safe_load(text.strip("-"))["size_categories"] == [category]


def croissant(path: Path) -> mlcroissant.Dataset:
    return mlcroissant.Dataset(jsonld=str(path))


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")  # rdflib's
@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")  # mlcroissant's, of pandas
def test_mlcroissant_misses_only_what_a_publisher_knows(folder: Path, tmp_path: Path) -> None:
    issues = croissant(folder / "croissant.json").metadata.ctx.issues
    assert not issues.errors
    assert {re.findall(r"/(\w+)\"", issue)[0] for issue in issues.warnings} == {"citeAs", "datePublished"}
    broken = json.loads((folder / "croissant.json").read_text())
    del broken["distribution"][1]["sha256"]
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    with pytest.raises(mlcroissant.ValidationError, match="sha256"):
        croissant(tmp_path / "broken.json")


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")  # rdflib's
@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")  # mlcroissant's, of pandas
def test_mlcroissant_loads_the_records(folder: Path) -> None:
    records = list(croissant(folder / "croissant.json").records("samples"))
    wanted = read_entries(folder).to_pylist()
    assert len(records) == len(wanted) == 59
    for record, row in zip(records, wanted, strict=True):
        assert {name.partition("/")[2]: plain(value) for name, value in record.items()} == row


def plain(value: Any) -> Any:
    """Croissant's text is bytes."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def test_croissant_names_every_file_with_its_size_and_hash_and_what_is_a_list(folder: Path) -> None:
    document = json.loads((folder / "croissant.json").read_text())
    fields = document["recordSet"][0]["field"]
    assert [field["name"] for field in fields if field.get("repeated")] == ["identity_ids"]
    files = document["distribution"]
    assert {file["contentUrl"] for file in files} == {
        path.name for path in folder.iterdir() if path.suffix in {".tar", ".parquet"}
    } - {"rejected.parquet"}
    for file in files:
        data = (folder / file["contentUrl"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
        assert file["contentSize"] == f"{len(data)} B"


@pytest.mark.parametrize("streaming", [True, False])
def test_hugging_face_datasets_gives_the_same_bytes_and_json(
    rich: World, tmp_path: Path, streaming: bool
) -> None:
    out = write(rich, tmp_path / "out", target_bytes=6_000)
    assert 0 in [shard.samples for shard in ShardIndex.load(out).shards]
    raw = datasets.Image(decode=False)
    for split in (Split.TRAIN, Split.VAL):
        theirs = datasets.load_dataset(
            str(out), split=split.value, streaming=streaming, cache_dir=str(tmp_path / "cache")
        )
        samples = list(theirs.cast_column("jpg", raw).cast_column("mask.png", raw))
        ours = ShardDataset(out, split)
        assert [sample["__key__"] for sample in samples] == ours.rows["key"].to_list()
        for sample, mine in zip(samples, map(ours.__getitem__, range(len(ours))), strict=True):
            assert sample["json"] == mine.row
            assert sample["jpg"]["bytes"] == rich.blobs[mine.key]
            assert (sample["mask.png"] or {"bytes": None})["bytes"] == (MASK if mine.row["recipe"] else None)
