"""Sentences that captions share, word for word or nearly.

Near duplicates are sentences whose sets of word 3-shingles have a Jaccard similarity of at least 0.9
(Broder, "On the resemblance and containment of documents", 1997). MinHash with locality-sensitive hashing
proposes pairs, of those with similarity 0.9 all but about one in 10,000; every proposed pair is compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl
from datasketch import MinHash, MinHashLSH

from mmidd.audit.rows import Severity
from mmidd.captioning.audit.rows import SENTENCES, VIDEO, Captioned, Findings, Kind, finding_rows

SIMILAR = 0.9
SHINGLE = 3

SEARCHED = 200_000
"""Distinct sentences searched for near duplicates; of more, so many by hash. Their index takes 2 GB."""

_PERMUTATIONS, _BANDS, _ROWS = 128, 16, 8


def words(text: str) -> list[str]:
    """The words of a text, lower case, without punctuation."""
    return re.findall(r"[^\W_]+", text.lower())


def shingles(text: str) -> frozenset[str]:
    """Every three words in a row; all words where there are fewer."""
    said = words(text)
    return frozenset(" ".join(said[k : k + SHINGLE]) for k in range(max(1, len(said) - SHINGLE + 1)))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Size of the intersection over that of the union; 1 of two empty sets."""
    return len(a & b) / len(a | b) if a or b else 1.0


def near_groups(texts: Sequence[str]) -> list[int]:
    """For each text the position of the first that a chain of near duplicates joins it with."""
    sets = [shingles(text) for text in texts]
    first = list(range(len(texts)))

    def root(k: int) -> int:
        while first[k] != k:
            first[k] = first[first[k]]
            k = first[k]
        return k

    index = MinHashLSH(num_perm=_PERMUTATIONS, params=(_BANDS, _ROWS))
    encoded = ([shingle.encode() for shingle in of] for of in sets)
    for k, signature in enumerate(MinHash.generator(encoded, num_perm=_PERMUTATIONS)):
        for other in index.query(signature):
            a, b = sorted((root(k), root(other)))
            if a != b and jaccard(sets[k], sets[other]) >= SIMILAR:
                first[b] = a
        index.insert(k, signature, check_duplication=False)
    return [root(k) for k in range(len(texts))]


def duplicates(captioned: Captioned) -> tuple[list[Findings], pl.DataFrame]:
    """One finding per group, and a table of groups and shares by sentence.

    A group inside one video is a note, as frames resemble each other; across videos it is a warning.
    """
    found: list[Findings] = []
    table = []
    for name in SENTENCES:
        said = captioned.rows.select("sample_id", text=name, video=VIDEO).drop_nulls("text")
        said = said.filter(pl.col("text").str.strip_chars() != "")
        near, searched = _near(said)
        for kind, groups in ((Kind.DUPLICATE, _groups(said, "text")), (Kind.NEAR_DUPLICATE, near)):
            across = pl.col("videos") > 1
            severity = (
                pl.when(across).then(pl.lit(Severity.WARNING.value)).otherwise(pl.lit(Severity.INFO.value))
            )
            found.append(finding_rows(groups, kind, name, severity))
            shared = int(groups.filter(across)["value"].sum())
            table.append(
                {
                    "sentence": name,
                    "match": "exact" if kind is Kind.DUPLICATE else "near",
                    "distinct": said["text"].n_unique() if kind is Kind.DUPLICATE else searched,
                    "groups": groups.height,
                    "across_videos": groups.filter(across).height,
                    "captions": shared,
                    "share": shared / max(1, said.height),
                    "largest": int(groups["value"].max() or 0),  # type: ignore[arg-type]
                }
            )
    return found, pl.DataFrame(table)


def _near(said: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The groups of several wordings, and among how many distinct sentences they were searched."""
    distinct = said.select("text").unique()
    if distinct.height > SEARCHED:
        distinct = distinct.sort(pl.col("text").hash(seed=0)).head(SEARCHED)
    texts = distinct.sort("text")
    texts = texts.with_columns(group=pl.Series(near_groups(texts["text"].to_list()), dtype=pl.Int64))
    several = texts.filter(pl.len().over("group") > 1)
    return _groups(said.join(several, on="text"), "group"), texts.height


def _groups(said: pl.DataFrame, key: str) -> pl.DataFrame:
    """The groups of two and more captions with an equal key."""
    groups = (
        said.sort("sample_id")
        .group_by(key, maintain_order=True)
        .agg(
            pl.col("sample_id").first(),
            value=pl.len(),
            videos=pl.col("video").n_unique(),
            wordings=pl.col("text").n_unique(),
            first=pl.col("text").first(),
        )
    )
    told = pl.format("{} captions of {} videos in {} wordings: {}", "value", "videos", "wordings", "first")
    return groups.filter(pl.col("value") > 1).with_columns(detail=told)
