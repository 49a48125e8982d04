"""The dataset card of a folder of shards, as Hugging Face reads it: `README.md`.

It says what the rows say and nothing else: no date, no path, so that it is the same when the shards are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from mmidd.schema import ForgeryType, Media
from mmidd.shards.contents import TERMS, TITLE, UNKNOWN, Contents, licences, source_info
from mmidd.shards.front_matter import front_matter
from mmidd.shards.index import ShardIndex

COUNTED = ("label", "type", "source", "method", "compression")

_TITLES = {kind.value: f"{kind.value} ({kind.title})" for kind in ForgeryType}


def dataset_card(contents: Contents) -> str:
    """The Markdown text of the card, with YAML in front."""
    rows = contents.known
    members = ", ".join(f"`{name}`" for name in contents.members)
    sections = [
        front_matter(contents),
        f"# {TITLE}",
        f"{rows.height:,} face crops, real and forged, in WebDataset shards that `mmidd shard` wrote. "
        f"Members of a sample: {members}. They show faces of people: personal data.",
        "## What it holds",
        *(_counts(rows, column, contents.splits) for column in COUNTED),
        "## How the crops were made",
        *_crops(contents.index, rows),
        "## Simulations and captions",
        *_additions(rows, contents.masks),
        "## Terms",
        TERMS,
        _terms(contents),
        "## What was left out",
        *_left_out(contents),
        "## How to read it",
        _reading(contents),
        "## Which version it is",
        _version(contents.index),
    ]
    return "\n\n".join(sections) + "\n"


def _counts(rows: pl.DataFrame, column: str, splits: list[str]) -> str:
    """How many samples of each value each split has."""
    counts = {(value, split): n for value, split, n in rows.group_by(column, "split").len().iter_rows()}
    values = sorted({value for value, _ in counts}, key=lambda value: (value is None, value))
    lines = []
    for value in values:
        of_splits = [counts.get((value, split), 0) for split in splits]
        lines.append((_TITLES.get(value, value), *of_splits, sum(of_splits)))
    return _table((column, *splits, "all"), lines)


def _crops(index: ShardIndex, rows: pl.DataFrame) -> Iterator[str]:
    yield _table(("choice", "value"), ((name, str(value)) for name, value in index.spec))
    as_given = rows.filter(pl.col("media") == Media.PRECROPPED.value).height
    if as_given:
        yield f"{as_given:,} samples came cropped from their source and were not cropped again."


def _additions(rows: pl.DataFrame, masks: int) -> Iterator[str]:
    recipes = rows.drop_nulls("recipe").group_by("recipe", "label").len().sort("recipe", "label")
    if recipes.height:
        yield "Forgeries simulated from the real samples, and their pristine twins (label real):"
        yield _table(("recipe", "label", "samples"), recipes.iter_rows())
    face, environment = (rows[name].count() for name in ("face", "environment"))
    yield (
        f"{recipes['len'].sum():,} samples are simulated, {masks:,} have a soft mask; "
        f"{face:,} have a caption of the face, {environment:,} of the environment."
    )


def _terms(contents: Contents) -> str:
    sizes = dict(contents.rows["source"].value_counts().iter_rows())
    lines = []
    for source, terms in licences(contents).items():
        info = source_info(source)
        lines.append((source, info.title if info else None, sizes[source], terms))
    return _table(("dataset", "title", "samples", "licence or terms"), lines)


def _left_out(contents: Contents) -> Iterator[str]:
    reasons = {**contents.left_out, **contents.index.rejected}
    if not reasons:
        yield "Nothing."
        return
    yield _table(("what or why", "rows"), reasons.items())
    if contents.index.rejected:
        yield "`rejected.parquet` names each row that could not be written, with its reason."


def _reading(contents: Contents) -> str:
    split, image = contents.splits[0], contents.members[0]
    return f"""```python
from pathlib import Path
from mmidd.schema import Split
from mmidd.shards.dataset import ShardDataset
sample = ShardDataset(Path("."), Split("{split}"))[0]  # .image, .row, .mask

import glob, webdataset
urls = sorted(glob.glob("{split}-*.tar"))
for sample in webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"):
    sample["{image}"], sample["json"]["label"]

from datasets import load_dataset
for sample in load_dataset(".", split="{split}", streaming=True):
    sample["{image}"], sample["json"]["label"]
```"""


def _version(index: ShardIndex) -> str:
    facts = {
        "spec of the crops": index.spec_id,
        "SHA-256 of `samples.parquet`": index.samples_sha256,
        "schema version": index.schema_version,
        "seed of the shuffle": str(index.seed),
        "shards": f"{len(index.shards):,}, {sum(shard.bytes for shard in index.shards):,} bytes",
    }
    return f"{_table(('what', 'value'), facts.items())}\n\n`index.json` has the SHA-256 of every shard."


def _table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    text = UNKNOWN if value is None else " ".join(str(value).split())
    return text.replace("|", "\\|").replace("<", "&lt;")
