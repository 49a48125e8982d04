"""What `regularisation` measured, as a table for terminal and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import polars as pl
from pydantic import BaseModel, ConfigDict
from rich import box
from rich.markup import escape
from rich.table import Table

from mmidd.evaluation.results import Estimate
from mmidd.evaluation.view import short, with_interval
from mmidd.recipes.results import write_both

VERDICT, PROBE = "verdict", "linear probe"
_CAPTION = (
    "Video AUC of the verdicts, and of a linear probe on the features they rest on, fitted on the training "
    "split of {home}, with 95% intervals; gap: at home less the mean elsewhere. Likeness: unbiased linear "
    "CKA of the features of the test split, 1 for equal, 0 for unrelated. At most {frames} frames of a video."
)


def alike(reference: str) -> str:
    """Name of the likeness to a run."""
    return f"likeness to {reference}"


class Row(BaseModel):
    """One measure of a run.

    Attributes:
        run: its name.
        method: of the run.
        measure: `VERDICT`, `PROBE`, or `alike` of a reference.
        values: by name of the dataset, home first; a likeness has no interval.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    method: str
    measure: str
    values: dict[str, Estimate]

    @property
    def gap(self) -> float | None:
        """AUC at home less its mean elsewhere, where all are defined; a likeness has none."""
        home, *others = [estimate.value for estimate in self.values.values()]
        known = [value for value in others if value is not None]
        if self.measure not in (VERDICT, PROBE) or home is None or not known or len(known) < len(others):
            return None
        return home - fmean(known)


class Regularisation(BaseModel):
    """All measures of all runs.

    Attributes:
        home: dataset that the runs were trained on.
        frames: most of a video whose features are taken.
        rows: run by run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: str
    frames: int
    rows: tuple[Row, ...]

    def document(self) -> dict[str, object]:
        """As JSON, the gaps included."""
        rows = [{**row.model_dump(mode="json"), "gap": row.gap} for row in self.rows]
        return {**self.model_dump(mode="json"), "rows": rows}

    def table(self) -> Table:
        """For the terminal."""
        table = Table(
            title="What holds beyond the training data",
            caption=escape(_CAPTION.format(home=self.home, frames=self.frames)),
            title_justify="left",
            caption_justify="left",
            box=box.SIMPLE_HEAD,
        )
        for heading in ("run", "measure"):
            table.add_column(heading, overflow="fold")
        for heading in (*self.rows[0].values, "gap"):
            table.add_column(escape(heading), justify="right", overflow="fold")
        before = ""
        for row in self.rows:
            cells = (_cell(row, estimate) for estimate in row.values.values())
            name = "" if row.run == before else row.run
            table.add_row(escape(name), escape(row.measure), *cells, short(row.gap))
            before = row.run
        return table

    def write(self, folder: Path, name: str) -> Sequence[Path]:
        """Write NAME.json, this, and NAME.csv, a line per run, measure and dataset.

        Raises:
            StorageError: they cannot be written.
        """
        return write_both(self, self._lines(), folder, name)

    def _lines(self) -> pl.DataFrame:
        lines = [
            {"run": row.run, "method": row.method, "measure": row.measure, "dataset": name}
            | {"home": name == self.home, **estimate.model_dump()}
            for row in self.rows
            for name, estimate in row.values.items()
        ]
        return pl.DataFrame(lines, schema_overrides=dict.fromkeys(("value", "low", "high"), pl.Float64))


def _cell(row: Row, estimate: Estimate) -> str:
    return with_interval(estimate) if row.measure in (VERDICT, PROBE) else short(estimate.value)
