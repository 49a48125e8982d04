"""What the runs of `data-efficiency` reached, beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict
from rich import box
from rich.markup import escape
from rich.table import Table

from mmidd.evaluation.results import Estimate
from mmidd.evaluation.view import with_interval
from mmidd.recipes.results import write_both

PUBLISHED = {
    50: {"FF++": 92.68, "CDF1": 83.18, "DFD": 74.46, "DFDC": 61.82},
    100: {"FF++": 94.38, "CDF1": 91.12, "DFD": 78.99, "DFDC": 63.88},
    200: {"FF++": 94.02, "CDF1": 91.98, "DFD": 80.47, "DFDC": 62.09},
    500: {"FF++": 95.15, "CDF1": 91.82, "DFD": 81.65, "DFDC": 65.31},
}
"""Video AUC in % by number of images, KFD (arXiv 2503.14853), Table 3."""

CAPTION = (
    "Video AUC on the test split with a 95% interval. Published: KFD, arXiv 2503.14853, Table 3, in %, other "
    "data and crops; not comparable unless the protocol is the same."
)


class Row(BaseModel):
    """A finished run.

    Attributes:
        images: real images it was trained on.
        run: its name.
        validation: its best video AUC on the validation split.
        auc: video AUC on the test split, by name of the dataset.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    run: str
    validation: float
    auc: dict[str, Estimate]


class Efficiency(BaseModel):
    """All runs of a method, fewest images first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    rows: tuple[Row, ...]

    @property
    def published(self) -> dict[int, dict[str, float]]:
        """The paper's numbers for these images, where the method is the paper's."""
        known = PUBLISHED if self.method == "kfd" else {}
        return {row.images: known[row.images] for row in self.rows if row.images in known}

    def document(self) -> dict[str, object]:
        """As JSON, the published numbers included."""
        return {**self.model_dump(mode="json"), "published": self.published}

    def table(self) -> Table:
        """For the terminal."""
        ours = [*dict.fromkeys(name for row in self.rows for name in row.auc)]
        theirs = [*dict.fromkeys(name for row in self.published.values() for name in row)]
        table = Table(
            title=f"{escape(self.method)} with few real images",
            caption=CAPTION if theirs else CAPTION.split(" Published", maxsplit=1)[0],
            title_justify="left",
            caption_justify="left",
            box=box.SIMPLE_HEAD,
        )
        for heading in ("images", "val", *ours, *(f"published\n{name}" for name in theirs)):
            table.add_column(escape(heading), justify="right", overflow="fold")
        for row in self.rows:
            published = self.published.get(row.images, {})
            table.add_row(
                f"{row.images}",
                f"{row.validation:.3f}".removeprefix("0"),
                *(with_interval(row.auc[name]) if name in row.auc else "-" for name in ours),
                *(f"{published[name]:.2f}" if name in published else "-" for name in theirs),
            )
        return table

    def write(self, folder: Path, name: str) -> Sequence[Path]:
        """Write NAME.json, this, and NAME.csv, a line per number of images and dataset, shares of 1.

        Raises:
            StorageError: they cannot be written.
        """
        return write_both(self, self._lines(), folder, name)

    def _lines(self) -> pl.DataFrame:
        """Ours, then the published ones."""
        ours = [
            {"by": row.run, "images": row.images, "dataset": name, "video_auc": one.value}
            | {"low": one.low, "high": one.high}
            for row in self.rows
            for name, one in row.auc.items()
        ]
        theirs = [
            {"by": "published", "images": images, "dataset": name, "video_auc": value / 100}
            for images, row in self.published.items()
            for name, value in row.items()
        ]
        types = {"by": pl.String, "images": pl.Int64, "dataset": pl.String}
        return pl.DataFrame(
            [*ours, *theirs], schema={**types, **dict.fromkeys(("video_auc", "low", "high"), pl.Float64)}
        )
