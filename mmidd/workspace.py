"""The workspace: one folder that holds everything a project makes, and how to read it.

workspace.toml            the pinned preprocessing spec
samples/<source>/         face crops               (parts/*.parquet, packs/*.tar)
captions/<backend>/       captions
simulated/<recipe>/       self-blended forgeries
audit/                    findings, report, and which samples are left out
shards/                   WebDataset shards
runs/<name>/              trained detectors and their evaluations
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
from pydantic import ValidationError

from mmidd.errors import DataError, SpecMismatch, StorageError, UsageError
from mmidd.files import TEMPORARY
from mmidd.schema import CAPTIONS, SAMPLES, SIMULATED, Status
from mmidd.spec import PreprocessSpec

DEFAULT_ROOT = "mmidd-data"
EXCLUDED = "excluded.parquet"
FORMAT = 1


@dataclass(frozen=True)
class Table:
    """The parts and packs of one stage, read-only.

    Attributes:
        root: folder with `parts/` and `packs/`.
        schema: Arrow schema of the rows.
    """

    root: Path
    schema: pa.Schema

    @property
    def parts(self) -> list[Path]:
        """The committed parts, sorted by name."""
        return self._files("parts", "*.parquet")

    @property
    def packs(self) -> list[Path]:
        """All packs, sorted by name."""
        return self._files("packs", "*.tar")

    def _files(self, folder: str, pattern: str) -> list[Path]:
        return sorted(p for p in (self.root / folder).glob(pattern) if not p.name.startswith(TEMPORARY))

    def orphans(self) -> list[Path]:
        """Files that no committed part accounts for: temporary ones and packs without a part."""
        committed = {part.stem for part in self.parts}
        temporary = [p for f in ("parts", "packs") for p in (self.root / f).glob(f"{TEMPORARY}*")]
        return temporary + [pack for pack in self.packs if pack.stem not in committed]

    def scan(self) -> pl.LazyFrame:
        """Every row of the last attempt of every unit, of any status."""
        parts = self.parts
        if not parts:
            return pl.DataFrame(self.schema.empty_table()).lazy()
        last = pl.col("attempt") == pl.col("attempt").max().over("unit_id")
        return pl.scan_parquet(parts).filter(last)

    def read(self, pack: str, offset: int, length: int) -> bytes:
        """The bytes of one blob.

        Raises:
            DataError: the pack is missing or too short.
        """
        try:
            with (self.root / "packs" / pack).open("rb") as file:
                data = os.pread(file.fileno(), length, offset)
        except FileNotFoundError as error:
            raise DataError("pack_missing", pack) from error
        if len(data) != length:
            raise DataError("pack_truncated", f"{pack} at {offset}")
        return data


@dataclass(frozen=True)
class Workspace:
    """An opened workspace."""

    root: Path

    @classmethod
    def open(cls, root: Path, *, create: bool = False) -> Workspace:
        """Open a workspace, or begin one with `create`; runs on shards from elsewhere make one, too.

        Raises:
            UsageError: there is no workspace, or its format is another version's.
        """
        workspace = cls(root)
        if not workspace._settings.exists():
            if not create and not workspace.runs_dir.is_dir():
                raise UsageError(
                    f"no workspace at {root}; run `mmidd ingest SOURCE ROOT` first, or pass --workspace"
                )
            return workspace
        version = workspace._read_settings().get("format")
        if version != FORMAT:
            raise UsageError(
                f"{root} has workspace format {version}, this mmidd reads {FORMAT}; use another --workspace"
            )
        return workspace

    @property
    def _settings(self) -> Path:
        return self.root / "workspace.toml"

    def _read_settings(self) -> dict[str, object]:
        try:
            return tomllib.loads(self._settings.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{self._settings} is not valid TOML ({error}); mend it or use another --workspace"
            ) from error

    @property
    def spec(self) -> PreprocessSpec:
        """The pinned preprocessing spec.

        Raises:
            UsageError: nothing was ingested yet, or the pinned spec is unreadable.
        """
        if not self._settings.exists():
            raise UsageError(f"{self.root} has no pinned spec; run `mmidd ingest SOURCE ROOT` first")
        try:
            return PreprocessSpec.model_validate(self._read_settings().get("preprocess"))
        except ValidationError as error:
            raise UsageError(
                f"{self._settings} pins an invalid spec ({error.errors()[0]['msg']}); mend it"
            ) from error

    def pin(self, asked: Mapping[str, object]) -> PreprocessSpec:
        """The spec to ingest with: pinned now if the workspace is new, else the pinned one.

        Args:
            asked: the fields the user named; the others take the pinned or default value.

        Raises:
            SpecMismatch: a named field differs from the pinned spec.
        """
        if self._settings.exists():
            pinned = self.spec
            differences = pinned.differences(_spec({**pinned.model_dump(), **asked}))
            if differences:
                words = ", ".join(
                    f"{k} {old} is pinned, {new} was asked" for k, (old, new) in differences.items()
                )
                raise SpecMismatch(
                    f"{self.root} was begun with another preprocessing spec ({words}); "
                    "leave the option out, or use another --workspace"
                )
            return pinned
        spec = _spec(asked)
        lines = [
            f"format = {FORMAT}",
            "",
            "[preprocess]",
            *(f"{k} = {_toml(v)}" for k, v in spec.model_dump().items()),
        ]
        temporary = self._settings.with_name(TEMPORARY + self._settings.name)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            temporary.write_text("\n".join(lines) + "\n")
            temporary.rename(self._settings)
        except OSError as error:
            raise StorageError(
                f"cannot write {self.root}: {error.strerror}; choose another --workspace"
            ) from error
        return spec

    def table(self, name: str, schema: pa.Schema) -> Table:
        """The table in the folder `name`, such as `samples/ff++`."""
        return Table(self.root / name, schema)

    def tables(self) -> dict[str, Table]:
        """All tables of the workspace by folder name."""
        kinds = {"samples": SAMPLES, "captions": CAPTIONS, "simulated": SIMULATED}
        return {
            f"{kind}/{folder.name}": Table(folder, schema)
            for kind, schema in kinds.items()
            for folder in sorted((self.root / kind).glob("*"))
            if (folder / "parts").is_dir()
        }

    def _usable(self, kind: str, schema: pa.Schema) -> pl.LazyFrame:
        frames = [
            table.scan().filter(pl.col("status") == Status.OK.value).with_columns(table=pl.lit(name))
            for name, table in self.tables().items()
            if name.startswith(f"{kind}/")
        ]
        empty = pl.DataFrame(schema.empty_table()).lazy().with_columns(table=pl.lit(""))
        return pl.concat(frames or [empty])

    def without_excluded(self, rows: pl.LazyFrame, column: str = "sample_id") -> pl.LazyFrame:
        """The rows without those whose `column` names a sample that the audit left out."""
        path = self.audit_dir / EXCLUDED
        if not path.exists():
            return rows
        left_out = pl.scan_parquet(path).select("sample_id")
        return rows.join(left_out, left_on=column, right_on="sample_id", how="anti")

    def excluded(self) -> dict[str, int]:
        """How many samples the audit left out, by reason."""
        path = self.audit_dir / EXCLUDED
        if not path.exists():
            return {}
        return dict(pl.read_parquet(path)["reason"].value_counts().sort("reason").iter_rows())

    def samples(self) -> pl.LazyFrame:
        """Usable samples of all sources by `sample_id`; `table` names the folder of the packs.

        Without those that `mmidd audit --resolve` left out.
        """
        return self.without_excluded(self._usable("samples", SAMPLES)).sort("sample_id")

    def captions(self) -> pl.LazyFrame:
        """Captions of all backends by `sample_id`."""
        return self._usable("captions", CAPTIONS).sort("sample_id")

    def simulated(self) -> pl.LazyFrame:
        """Simulated forgeries of all recipes by `sample_id`; `table` names the folder of the packs.

        Without those of a real that `mmidd audit --resolve` left out.
        """
        rows = self.without_excluded(self._usable("simulated", SIMULATED), "base_id")
        return rows.sort("sample_id")

    def read_blob(self, table: str, pack: str, offset: int, length: int) -> bytes:
        """The bytes of one blob of the table in folder `table`; see `Table.read`."""
        return Table(self.root / table, SAMPLES).read(pack, offset, length)

    @property
    def audit_dir(self) -> Path:
        """Where `audit` writes."""
        return self.root / "audit"

    @property
    def shards_dir(self) -> Path:
        """Where `shard` writes by default."""
        return self.root / "shards"

    @property
    def runs_dir(self) -> Path:
        """Where `train` writes by default."""
        return self.root / "runs"


def _spec(fields: Mapping[str, object]) -> PreprocessSpec:
    try:
        return PreprocessSpec.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"--{'.'.join(map(str, first['loc']))}: {first['msg']}; see `mmidd ingest --help`"
        ) from error


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
