"""Forgeries drawn inside the training stream: every real sample as a pair, afresh in each epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa

from mmidd.dialogue.blends import REAL, finding
from mmidd.dialogue.conversation import Message, converse
from mmidd.dialogue.finding import Finding
from mmidd.errors import UsageError
from mmidd.preprocess.blend.landmarks import crop_marks
from mmidd.preprocess.blend.recipe import RecipeName
from mmidd.preprocess.blend.render import finished
from mmidd.preprocess.simulate import forgery_type, generator, method_of, simulate_sample
from mmidd.schema import ForgeryType, Label, Split
from mmidd.shards.dataset import ShardSample
from mmidd.shards.index import ENTRIES
from mmidd.shards.reading import Indices, Needs
from mmidd.training.fewer import spread
from mmidd.training.samples import Samples


class OnlineSamples:
    """The real samples of a split, each as a pristine twin (even index) and a forgery (odd index).

    The forgery is a function of (seed, key, epoch), as `mmidd simulate` draws it. Reals without
    landmarks are left out and counted in `left_out`; of a split's fakes none is seen.

    Args:
        samples: any samples; the column `landmark_scheme` of `rows` tells which have landmarks.
        recipes: names of recipes; each pair draws one of them.
        seed: seed of the run.
        epoch: which drawing of each sample this is.
        count: so many of the reals are used, as `fewer.spread` chooses them; none is all.

    Raises:
        UsageError: no real sample has landmarks, or fewer than `count`.
    """

    def __init__(
        self,
        samples: Samples,
        recipes: Sequence[RecipeName],
        seed: int,
        epoch: int = 0,
        count: int | None = None,
    ) -> None:
        self.samples, self.recipes, self.seed, self.epoch, self.count = samples, recipes, seed, epoch, count
        real = (samples.rows["label"] == Label.REAL.value).to_numpy()
        usable = real & samples.rows["landmark_scheme"].is_not_null().to_numpy()
        self.left_out = int(np.count_nonzero(real) - np.count_nonzero(usable))
        self._latest = self
        self._indices = np.flatnonzero(usable).astype(np.int32)
        self._last: tuple[int, tuple[ShardSample, ShardSample]] | None = None
        if not len(self._indices):
            raise UsageError(
                f"no real sample of the {samples.split} split has landmarks to blend along; "
                "ingest with --detector dlib or insightface"
            )
        if count is not None:
            self._indices = self._indices[spread(samples.rows[self._indices], count, seed)]

    @property
    def split(self) -> Split:
        """The split of the reals."""
        return self.samples.split

    @property
    def side(self) -> int:
        """Of the crops, in pixels."""
        return self.samples.side

    @property
    def identity(self) -> str:
        """Tells data apart."""
        fewer = "" if self.count is None else f" of {self.count}"
        return f"{self.samples.identity} online {' '.join(self.recipes)} {self.seed}{fewer}"

    def column(self, name: str) -> pa.ChunkedArray:
        """One of the columns of `rows`."""
        return pa.chunked_array([self.rows[name].to_arrow()]).cast(ENTRIES.field(name).type)

    def reading(self, batches: Iterator[Indices]) -> AbstractContextManager[Needs]:
        """Entered while these batches are read; what the reals lie in is fetched before their turn."""
        return _of_pairs(self.samples.reading(self._indices[batch // 2] for batch in batches), self._indices)

    def at(self, epoch: int) -> OnlineSamples:
        """The same reals with the forgeries of an epoch."""
        if self._latest.epoch != epoch:
            self._latest = OnlineSamples(self.samples, self.recipes, self.seed, epoch, self.count)
        return self._latest

    @cached_property
    def rows(self) -> pl.DataFrame:
        """As `ShardDataset.rows`, two for each real; `pair_id` is the real's key."""
        reals = self.samples.rows[self._indices].with_columns(pair_id=pl.col("key"))
        recipes = pl.Series("recipe", [self._recipe(key) for key in reals["key"]], dtype=pl.String)
        types = pl.Series("type", [forgery_type(name).value for name in recipes], dtype=pl.String)
        marked = pl.col("video_id") + "#online"
        fakes = reals.with_columns(
            types, key=pl.col("key") + "#online", label=pl.lit(Label.FAKE.value), video_id=marked
        )
        both = pl.concat([reals.with_row_index("__n"), fakes.with_row_index("__n")])
        return both.sort("__n", maintain_order=True).drop("__n")

    def __len__(self) -> int:
        return 2 * len(self._indices)

    def __getitem__(self, index: int) -> ShardSample:
        """One half of a pair.

        Raises:
            DataError: the real is damaged, or cannot be blended.
        """
        pair, half = divmod(index, 2)
        if self._last is None or self._last[0] != pair:
            self._last = (pair, self._pair(int(self._indices[pair])))
        return self._last[1][half]

    def _pair(self, index: int) -> tuple[ShardSample, ShardSample]:
        real = self.samples[index]
        recipe = self._recipe(real.key)
        marks = crop_marks(real.row)
        blend = finished(simulate_sample(real.image, marks, recipe, self.seed, real.key, self.epoch))
        row = {**real.row, "pair_id": real.key}
        pristine = {
            **row,
            "type": ForgeryType.REAL.value,
            "conversations": self._talk(real.key, recipe, REAL),
        }
        fake = {
            **row,
            "conversations": self._talk(real.key, recipe, finding(blend)),
            "regions": list(blend.parameters.regions),
            "method": method_of(recipe, blend.parameters),
            "label": Label.FAKE.value,
            "type": forgery_type(recipe).value,
            "video_id": f"{row['video_id']}#online",
        }
        forged = ShardSample(f"{real.key}#online", blend.fake, fake, blend.mask)
        return ShardSample(real.key, blend.real, pristine), forged

    def _talk(self, key: str, recipe: RecipeName, found: Finding) -> list[Message]:
        """In both halves of a pair the human says the same."""
        return converse(found, generator(self.seed, f"dialogue:{recipe}:{key}", self.epoch))

    def _recipe(self, key: str) -> RecipeName:
        digest = hashlib.blake2b(f"{self.seed}:{key}:{self.epoch}".encode(), digest_size=8).digest()
        return self.recipes[int.from_bytes(digest, "big") % len(self.recipes)]


@contextmanager
def _of_pairs(reading: AbstractContextManager[Needs], reals: Indices) -> Iterator[Needs]:
    """Told of pairs, what is told of their reals."""
    with reading as need:
        yield lambda batch: need(reals[batch // 2])
