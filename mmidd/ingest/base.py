"""The reader contract: what a source declares, and what it says about every file.

A reader knows one source's official layout. It lists items in a fixed order, each with its
label, type, split, video, identities and pair by the source's own rules, never by guessing
on a path; media it cannot place is `Unlisted`, and what the annotation names but the disk
lacks is in `expected`. Subclassing `Reader` registers it under its key and aliases.
"""

from __future__ import annotations

import importlib
import pkgutil
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from mmidd.errors import LayoutError, UsageError
from mmidd.ingest.splits import SHARES, Shares, derived_split
from mmidd.ingest.tree import folders, natural
from mmidd.schema import ForgeryType, Label, Media, Split

SEARCH_DEPTH = 3


@dataclass(frozen=True)
class SourceInfo:
    """What a source is, in its own terms; documentation is generated from this.

    Attributes:
        key: canonical name on the command line and in the column `source`.
        aliases: other accepted names.
        title: full name.
        role: train, eval or own.
        media: what the files are.
        types: forgery types it holds.
        size: rough size.
        layout: expected tree, one line per path.
        annotations: files that labels, splits or identities come from.
        split_rule: how samples get their split.
        label_rule: what label and type come from.
        licence: short name of the terms.
        obtain: how a user gets the data.
        gotchas: what trips people up, one line each.
    """

    key: str
    aliases: tuple[str, ...]
    title: str
    role: str
    media: str
    types: str
    size: str
    layout: tuple[str, ...]
    annotations: str
    split_rule: str
    label_rule: str
    licence: str
    obtain: str
    gotchas: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadOptions:
    """What the user may say about a source.

    Attributes:
        compressions: quality levels to read; empty means all that are there.
        limit_videos: at most this many videos or images per method.
        annotations: folder with the source's annotation files when not under the root.
        derive_splits: make an identity-disjoint split where the official list is missing.
        config: description file of the `folder` source.
        seed: of the splits that are derived.
        types: forgery type by method, in place of the reader's own.
    """

    compressions: tuple[str, ...] = ()
    limit_videos: int | None = None
    annotations: Path | None = None
    derive_splits: bool = False
    config: Path | None = None
    seed: int = 0
    types: Mapping[str, ForgeryType] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """One media file and everything its source says about it; paths are relative to the root.

    Attributes:
        video_id: `source/...`; frames of one video share it, and nothing else has it.
        pair_id: the video id of the original, in this source or another; the item's own where there
            is none or none is known.
        pair_confidence: `declared` by the source, `derived` from names, `low`, or None for no pair.
        split_origin: `official`; `derived`; `unlisted` where an official list does not name it; `none`.
        identity_ids: `source/...` of every person in it, target first.
        overlap_ids: keys of the material it shares with other sources: `celeba/000001`,
            `ffhq/00000`, `ff++/000`, `celebdf/id0`, `uadfv/0000`, `youtube/ID`.
        group: what a derived split must keep together; the identities, or else the pair, if None.
        label_note: what about label, type or split is not certain.
        frame_index: number of the frame in its video, for a source that ships frames.
        mask: bright where the file was manipulated.
    """

    path: str
    media: Media
    label: Label
    type: ForgeryType
    method: str
    video_id: str
    pair_id: str
    split: Split = Split.NONE
    split_origin: str = "none"
    compression: str | None = None
    identity_ids: tuple[str, ...] = ()
    overlap_ids: tuple[str, ...] = ()
    group: str | None = None
    target_video: str | None = None
    donor_video: str | None = None
    pair_confidence: str | None = None
    label_note: str | None = None
    licence: str | None = None
    frame_index: int | None = None
    mask: str | None = None

    def columns(self) -> dict[str, Any]:
        """The item's columns of `schema.SAMPLES`."""
        values = asdict(self)
        del values["mask"], values["path"], values["group"]
        return {**values, "src_path": unicodedata.normalize("NFC", self.path)}


@dataclass(frozen=True)
class Unlisted:
    """A media file that the source's rules do not know."""

    path: str
    why: str


@dataclass(frozen=True)
class Expected:
    """A file that the source's annotation or naming rule says should exist."""

    method: str
    split: Split
    compression: str | None
    name: str


class Reader(ABC):
    """Lists one source below a root folder.

    Args:
        root: any folder at most three levels above the layout.
        options: what the user said.

    Attributes:
        derives_splits: the source has no official split, so that one is derived.

    Raises:
        LayoutError: the layout is not there.
        UsageError: an annotation that labels or splits need is missing.
    """

    info: ClassVar[SourceInfo]
    derives_splits: ClassVar[bool] = False
    registry: ClassVar[dict[str, type[Reader]]] = {}

    def __init_subclass__(cls) -> None:
        for name in (cls.info.key, *cls.info.aliases):
            Reader.registry[name] = cls

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self.options = options
        self.root = self.locate(root)
        self.source = self.info.key

    @classmethod
    @abstractmethod
    def matches(cls, folder: Path) -> bool:
        """Whether the layout begins in this folder."""

    @abstractmethod
    def items(self) -> Iterator[Item | Unlisted]:
        """Every media file in a fixed order."""

    def listed(self) -> Iterator[Item | Unlisted]:
        """The items, with a derived split where the source has none, and the types that the user gave.

        Raises:
            UsageError: at the end, a type was given for a method that no fake has.
        """
        methods = set()
        for item in self.items():
            if isinstance(item, Unlisted):
                yield item
                continue
            if item.label is Label.FAKE:
                methods.add(item.method)
                item = self._typed(item)
            if self.derives_splits and item.split_origin == "none":
                item = in_derived_split(item, self.options.seed)
            yield item
        if unknown := sorted(self.options.types.keys() - methods):
            raise UsageError(f"--type {unknown[0]}: no such method; there are {', '.join(sorted(methods))}")

    def _typed(self, item: Item) -> Item:
        given = self.options.types.get(item.method)
        return replace(item, type=given, label_note="type given by --type") if given else item

    @abstractmethod
    def expected(self) -> Iterator[Expected]:
        """Every file that should exist; nothing where the source gives no list."""

    @classmethod
    def locate(cls, root: Path) -> Path:
        """The folder in which the layout begins, at most three levels below `root`."""
        require_folder(root)
        found = next((folder for folder in folders(root, SEARCH_DEPTH) if cls.matches(folder)), None)
        if found is None:
            raise LayoutError(_layout_message(cls, root))
        return found


def in_derived_split(item: Item, seed: int, shares: Shares = SHARES) -> Item:
    """The item in the split of its group; in none where its people fall into different splits."""
    keys = (item.group,) if item.group else item.identity_ids or (item.pair_id,)
    splits = {derived_split(key, seed, shares) for key in keys}
    if len(splits) == 1:
        return replace(item, split=splits.pop(), split_origin="derived")
    note = "; ".join(filter(None, (item.label_note, "its people fall into different derived splits")))
    return replace(item, split=Split.NONE, split_origin="derived", label_note=note)


def require_folder(root: Path) -> None:
    """Raise `LayoutError` unless `root` is a folder that can be listed and holds something."""
    if not root.is_dir():
        raise LayoutError(f"{root} is not a folder; give the folder that you unpacked the source into")
    try:
        empty = next(root.iterdir(), None) is None
    except PermissionError as error:
        raise LayoutError(f"{root} cannot be listed (permission denied); mend its permissions") from error
    if empty:
        raise LayoutError(f"{root} is empty; give the folder that you unpacked the source into")


def load_readers() -> dict[str, type[Reader]]:
    """All readers by key and alias."""
    package = importlib.import_module("mmidd.ingest.readers")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return Reader.registry


def evaluation_sources() -> frozenset[str]:
    """Keys of the sources that the field evaluates on, and does not train on."""
    return frozenset(reader.info.key for reader in load_readers().values() if reader.info.role == "eval")


def find_reader(name: str) -> type[Reader]:
    """The reader called `name`, in any case.

    Raises:
        UsageError: there is none; the message names them all.
    """
    readers = load_readers()
    if name.lower() not in readers:
        known = ", ".join(sorted({reader.info.key for reader in readers.values()}))
        raise UsageError(f"unknown source {name!r}; known: {known} (see `mmidd sources`)")
    return readers[name.lower()]


def _layout_message(asked: type[Reader], root: Path) -> str:
    names = [p.name + "/" * p.is_dir() for p in sorted(root.iterdir(), key=natural)]
    found = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    near = [
        reader.info.key
        for reader in dict.fromkeys(load_readers().values())
        if reader is not asked and any(reader.matches(folder) for folder in folders(root, SEARCH_DEPTH))
    ]
    hint = (
        f"this looks like {' or '.join(near)}: run `mmidd ingest {near[-1]} {root}`"
        if near
        else f"give the folder that holds it (`mmidd sources show {asked.info.key}` draws the tree)"
    )
    return (
        f"{root} is not laid out as {asked.info.key}: expected {asked.info.layout[0]}, found {found}; {hint}"
    )
