"""Any own data, described by a small YAML file: rules over paths, or a CSV with one row per file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mmidd.errors import LayoutError, UsageError
from mmidd.ingest.base import Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted, require_folder
from mmidd.ingest.tree import IMAGE_SUFFIXES, VIDEO_SUFFIXES, natural
from mmidd.schema import ForgeryType, Label, Media, Split

CONFIG_NAME = "dataset.yaml"
_FIELDS = ("label", "type", "method", "split", "video", "pair", "identity")


class Rule(BaseModel):
    """Files matched by a glob, and templates over the groups of a pattern for what they are.

    A template may use `{stem}`, `{parent}`, `{path}` and every named group of `pattern`,
    a regular expression searched in the path relative to the root.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    glob: str
    pattern: str = ""
    label: Label
    type: ForgeryType | None = None
    method: str = "own"
    split: str = "none"
    video: str = "{path}"
    pair: str | None = None
    identity: str | None = None


class Columns(BaseModel):
    """Which CSV column says what; `path`, `label` and `type` must be there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = "path"
    label: str = "label"
    type: str = "type"
    method: str = "method"
    split: str = "split"
    video: str = "video"
    pair: str = "pair"
    identity: str = "identity"


class Description(BaseModel):
    """The YAML file: a name, the kind of media, and either rules or a CSV."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._+-]*$")
    media: Media
    licence: str | None = None
    rules: tuple[Rule, ...] = ()
    table: str | None = Field(None, alias="csv")
    columns: Columns = Columns()

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.rules) == bool(self.table):
            raise ValueError("give either rules or csv")
        return self


class OwnFolder(Reader):
    """The files that a `dataset.yaml` in the root, or named by --config, describes."""

    info = SourceInfo(
        key="folder",
        aliases=(),
        title="Own data described by a YAML file",
        role="own",
        media="video, image or precropped image",
        types="as described",
        size="any",
        layout=(f"any tree with a {CONFIG_NAME}, or one named by --config",),
        annotations=f"{CONFIG_NAME}; a CSV where it names one",
        split_rule="as described; none where nothing is said",
        label_rule="as described",
        licence="as described",
        obtain="your own",
    )

    def __init__(self, root: Path, options: ReadOptions) -> None:
        if options.config is None:
            super().__init__(root, options)
        else:
            require_folder(root)
            self.options, self.root = options, root
        self._description = _read_description(options.config or self.root / CONFIG_NAME)
        self.source = self._description.name

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """A folder with a description in it."""
        return (folder / CONFIG_NAME).is_file()

    def items(self) -> Iterator[Item | Unlisted]:
        """Every described file by path, then the media that nothing describes."""
        described = [self._item(fields) for fields in self._described()]
        known = {item.path for item in described}
        suffixes = VIDEO_SUFFIXES if self._description.media is Media.VIDEO else IMAGE_SUFFIXES
        files = (p for p in self.root.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
        others = sorted({p.relative_to(self.root).as_posix() for p in files} - known)
        yield from islice(described, self.options.limit_videos)
        yield from (Unlisted(path, f"no rule or row of {self.source} names it") for path in others)

    def _described(self) -> Iterator[dict[str, Any]]:
        if self._description.table:
            yield from self._csv_rows()
            return
        for rule in self._description.rules:
            for path in sorted(self.root.glob(rule.glob), key=lambda p: natural(Path(p.as_posix()))):
                if path.is_file():
                    yield _apply(rule, path.relative_to(self.root))

    def _csv_rows(self) -> Iterator[dict[str, Any]]:
        file, columns = self.root / str(self._description.table), self._description.columns
        try:
            with file.open(newline="", encoding="utf-8-sig") as handle:
                reader = csv.DictReader(handle)
                missing = {columns.path, columns.label, columns.type} - set(reader.fieldnames or ())
                if missing:
                    raise LayoutError(
                        f"{file} has no column {sorted(missing)[0]!r}; name it under columns: in the YAML"
                    )
                for row in reader:
                    names = {field: getattr(columns, field) for field in ("path", *_FIELDS)}
                    yield {field: row.get(name) or None for field, name in names.items()}
        except (OSError, UnicodeDecodeError) as error:
            raise LayoutError(
                f"{file} cannot be read as UTF-8 CSV ({error}); mend csv: in the YAML"
            ) from error

    def _item(self, fields: dict[str, Any]) -> Item:
        source, path = self.source, str(fields["path"])
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise UsageError(f"{source}: {path} leaves the root; paths must be relative to it")
        try:
            label, split = Label(fields["label"]), Split(fields["split"] or "none")
            kind = ForgeryType(fields["type"] or ("REAL" if label is Label.REAL else ""))
        except ValueError as error:
            raise UsageError(
                f"{source}: {path}: {error}; labels are real and fake, types REAL FS FR EFS FE"
            ) from error
        if (label is Label.REAL) != (kind is ForgeryType.REAL):
            raise UsageError(f"{source}: {path} has label {label} with type {kind}; mend the description")
        video = fields["video"] or path
        return Item(
            path=path,
            media=self._description.media,
            label=label,
            type=kind,
            method=fields["method"] or "own",
            video_id=f"{source}/{video}",
            pair_id=f"{source}/{fields['pair'] or video}",
            pair_confidence="declared" if fields["pair"] and label is Label.FAKE else None,
            identity_ids=tuple(f"{source}/{i}" for i in (fields["identity"] or "").split(";") if i),
            split=split,
            split_origin="official" if fields["split"] else "none",
            licence=self._description.licence,
        )

    def expected(self) -> Iterator[Expected]:
        """The rows of the CSV; nothing for rules, which only describe what is there."""
        for fields in self._described() if self._description.table else ():
            item = self._item(fields)
            yield Expected(item.method, item.split, None, item.path)


def _read_description(file: Path) -> Description:
    try:
        return Description.model_validate(yaml.safe_load(file.read_text()))
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}); name the YAML with --config") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not valid YAML ({' '.join(str(error).split())}); mend it") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "top level"
        raise UsageError(f"{file}: {where}: {first['msg']}; see docs/folder.md") from error


def _apply(rule: Rule, path: Path) -> dict[str, Any]:
    match = re.search(rule.pattern, path.as_posix())
    groups = {k: v or "" for k, v in (match.groupdict() if match else {}).items()}
    values = {
        **groups,
        "stem": path.stem,
        "parent": path.parent.name,
        "path": path.with_suffix("").as_posix(),
    }
    templates = {field: getattr(rule, field) for field in ("method", "split", "video", "pair", "identity")}
    try:
        filled = {field: text and text.format(**values) for field, text in templates.items()}
    except (KeyError, IndexError) as error:
        raise UsageError(
            f"rule {rule.glob}: {path} has no group {error} for a template; mend pattern:"
        ) from error
    return {"path": path.as_posix(), "label": rule.label, "type": rule.type, **filled}
