"""KoDF (Kwon et al., ICCV 2021): Korean subjects, five forgery models.

AI-Hub ships numbered archives with Korean names and metadata csv files; DeepBrain ships one folder per
model. Videos are found by name wherever they lie.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path

from mmidd.errors import UsageError
from mmidd.ingest.base import Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted
from mmidd.ingest.kodf_names import (
    Row,
    folder_method,
    is_ai_hub,
    nfc,
    read_metadata,
    split_in,
    told_by,
    video_stem,
)
from mmidd.ingest.tree import (
    VIDEO_SUFFIXES,
    ClipFile,
    clip_files,
    clip_name,
    folders,
    media_files,
    subfolders,
)
from mmidd.schema import ForgeryType, Label, Split

TYPES = {
    "real": ForgeryType.REAL,
    "dfl": ForgeryType.FS,
    "dffs": ForgeryType.FS,
    "fsgan": ForgeryType.FS,
    "fo": ForgeryType.FR,
    "audio-driven": ForgeryType.FR,
}
_CSV = ".csv"
_BESIDE = frozenset({"landmarks", "masks"})
_LEVELS = frozenset({"videos", "frames"})
_DEPTH = 3
_LOOK = 2000


class Kodf(Reader):
    """All clips of KoDF below a root."""

    info = SourceInfo(
        key="kodf",
        aliases=(),
        title="Korean DeepFake Detection Dataset",
        role="train",
        media="mp4 video, 1920x1080",
        types="REAL FS FR",
        size="62,166 real, 175,776 fake clips of about 400 subjects; terabytes",
        layout=(
            "1.Training/{[원천][원본]원본1,[원천][변조]train_dffs1_data}/*.mp4 and 2.Validation/... "
            "(AI-Hub); or {real,fake-audio-driven,fake-dffs,fake-dfl,fake-fo,fake-fsgan}/*.mp4 (DeepBrain)",
            "1.Training/[라벨링]train_meta/train_meta_data/{원본영상,변조영상}_training_메타데이터.csv",
        ),
        annotations="*메타데이터*.csv (AI-Hub): model, original and people of every video; DeepBrain's "
        "folders need none",
        split_rule="the csv's name, else the folder: training is train, validation is val; DeepBrain's "
        "folders have no official split: by a hash of the video",
        label_rule="csv of originals real, csv of fakes by 변조모델: dfl, dffs, fsgan FS; fo, audio-driven "
        "FR; DeepBrain by folder",
        licence="AI-Hub or DeepBrain terms, research only",
        obtain="AI-Hub account (residents of Korea), or the form of DeepBrain AI",
        gotchas=(
            "the test split is not public: what is released is train and val",
            "a video is found by its name below the root; one that no csv names is unlisted",
            "macOS unpacks Korean names decomposed (NFD), and [ ] in names break globs: both are handled",
            "DeepBrain's adversarial clips (fake-adv, real-adv) are excluded; its layout is not verified",
            "terabytes: take a sample with --limit-videos",
        ),
    )
    derives_splits = True

    def __init__(self, root: Path, options: ReadOptions) -> None:
        super().__init__(root, options)
        if options.compressions:
            raise UsageError("kodf has one quality only; leave --compression out")

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """DeepBrain's folders in it, or a name of AI-Hub at most three levels below."""
        near = islice(folders(folder, _DEPTH), _LOOK)
        return _has_model_folders(folder) or any(map(_is_ai_hub, near))

    @cached_property
    def _files(self) -> list[Path]:
        return list(_walk(self.root))

    @cached_property
    def _by_folder(self) -> bool:
        return _has_model_folders(self.root)

    @cached_property
    def _rows(self) -> dict[str, list[Row]]:
        rows: dict[Row, None] = {}
        for file in self._tables():
            told = split_in((file.name,))
            split = split_in(self._inside(file.parent)) if told is Split.NONE else told
            rows |= dict.fromkeys(read_metadata(file, split))
        if not rows and not self._by_folder:
            raise UsageError(
                f"no metadata csv (*메타데이터*.csv) under {self.root}; it is in the [라벨링] archives of "
                "AI-Hub: unpack them there or name their folder with --annotations"
            )
        table: dict[str, list[Row]] = {}
        for row in rows:
            table.setdefault(row.stem, []).append(row)
        return table

    def _tables(self) -> list[Path]:
        named = self.options.annotations
        found = _tables(folders(named, _DEPTH)) if named else []
        found += [path for path in self._files if path.suffix.lower() == _CSV]
        around = islice(folders(self.root.absolute().parent, _DEPTH - 1), _LOOK)
        return found or [file for file in _tables(around) if is_ai_hub(file.name)]

    def _inside(self, path: Path) -> tuple[str, ...]:
        """The parts of a path from the root's name on; the last ones of a path elsewhere."""
        path, base = path.absolute(), self.root.absolute().parent
        return path.relative_to(base).parts if path.is_relative_to(base) else path.parts[-_DEPTH:]

    @cached_property
    def _placed(self) -> list[tuple[Path, Row | str]]:
        """Every clip with its row, or with the reason why it has none."""
        clips = (path for path in self._files if path.suffix.lower() != _CSV)
        table = self._rows
        placed = [(clip, self._place(clip, table)) for clip in clips]
        first: dict[tuple[str, str], Path] = {}
        for clip, row in sorted(placed, key=lambda entry: entry[0].is_dir()):
            if isinstance(row, Row):
                first.setdefault((row.method, row.stem), clip)
        return [(clip, self._once(clip, row, first)) for clip, row in placed]

    def _once(self, clip: Path, row: Row | str, first: dict[tuple[str, str], Path]) -> Row | str:
        if isinstance(row, str) or first[row.method, row.stem] == clip:
            return row
        return f"a second copy of {first[row.method, row.stem].relative_to(self.root).as_posix()}"

    @cached_property
    def _on_disk(self) -> dict[tuple[str, str], tuple[Path, Row]]:
        return {(r.method, r.stem): (clip, r) for clip, r in self._placed if isinstance(r, Row)}

    def _place(self, clip: Path, table: dict[str, list[Row]]) -> Row | str:
        inside = clip.relative_to(self.root).parts
        folder = folder_method(inside[0]) if self._by_folder and len(inside) > 1 else None
        if folder == "adv":
            return "adversarial clips are excluded by default"
        rows = table.get(video_stem(clip_name(clip)), [])
        if folder:
            rows = [row for row in rows if row.method == folder] or [_folder_row(folder, inside[1:])]
        rows = told_by(inside[:-1], rows) if len(rows) > 1 else rows
        if len(rows) != 1:
            return "several rows of the metadata name it" if rows else "no metadata csv names it"
        if rows[0].method not in TYPES:
            return f"변조모델 {rows[0].method!r} is no model of KoDF"
        if rows[0].split is not Split.NONE or rows[0].from_folder:
            return rows[0]
        return replace(rows[0], split=split_in(self._inside(clip.parent)))

    def items(self) -> Iterator[Item | Unlisted]:
        """Every clip in the order of the folders."""
        count: Counter[str] = Counter()
        for clip, row in self._placed:
            method = row.method if isinstance(row, Row) else ""
            count[method] += 1
            if method and count[method] > (self.options.limit_videos or count[method]):
                continue
            for file in clip_files(clip):
                path = file.path.relative_to(self.root).as_posix()
                yield Unlisted(path, row) if isinstance(row, str) else self._item(row, path, file)

    def _item(self, row: Row, path: str, file: ClipFile) -> Item:
        fake = row.method != "real"
        item = Item(
            path=path,
            media=file.media,
            label=Label.FAKE if fake else Label.REAL,
            type=TYPES[row.method],
            method=row.method,
            video_id=f"kodf/{row.method}/{row.stem}",
            pair_id=f"kodf/{row.method}/{row.stem}",
            split=row.split,
            split_origin=_origin(row),
            identity_ids=self._people(row),
            label_note="DeepBrain's layout is not verified" if row.from_folder else None,
            licence=self.info.licence,
            frame_index=file.frame,
        )
        return self._paired(item, row) if fake and not row.from_folder else item

    def _people(self, row: Row) -> tuple[str, ...]:
        """Target first, by the original's row where the fake's does not name the person."""
        originals = () if row.person else self._rows.get(row.target, ())
        known = (original.person for original in originals if original.method == "real")
        people = dict.fromkeys((row.person, *known, row.source))
        return tuple(f"kodf/{person}" for person in people if person)

    def _paired(self, item: Item, row: Row) -> Item:
        if not row.target:
            return replace(item, label_note="the metadata names no original")
        video = f"kodf/real/{row.target}"
        if ("real", row.target) not in self._on_disk:
            return replace(item, target_video=video, label_note=f"its original {row.target} is not here")
        return replace(item, pair_id=video, target_video=video, pair_confidence="declared")

    def expected(self) -> Iterator[Expected]:
        """The videos of the metadata."""
        for stem, rows in self._rows.items():
            for row in (row for row in rows if row.method in TYPES):
                clip, placed = self._on_disk.get((row.method, stem), (None, row))
                yield Expected(row.method, placed.split, None, clip_name(clip) if clip else stem)


def _origin(row: Row) -> str:
    if row.split is not Split.NONE:
        return "official"
    return "none" if row.from_folder else "unlisted"


def _folder_row(method: str, inside: tuple[str, ...]) -> Row:
    """A row from a path below one of DeepBrain's folders."""
    parts = (*map(nfc, inside[:-1]), video_stem(inside[-1]))
    return Row(method, "/".join(part for part in parts if part.lower() not in _LEVELS), from_folder=True)


def _has_model_folders(folder: Path) -> bool:
    return any(folder_method(sub.name) not in (None, "real") for sub in subfolders(folder))


def _is_ai_hub(folder: Path) -> bool:
    return is_ai_hub(folder.absolute().name) or any(
        is_ai_hub(file.name) for file in media_files(folder, (_CSV,))
    )


def _tables(places: Iterable[Path]) -> list[Path]:
    return [file for place in places for file in media_files(place, (_CSV,))]


def _walk(folder: Path) -> Iterator[Path]:
    """Clips and csv files at any depth: a clip is a video file, or a folder of images without folders."""
    yield from media_files(folder, VIDEO_SUFFIXES | {_CSV})
    inner = [sub for sub in subfolders(folder) if sub.name.lower() not in _BESIDE]
    for sub in inner:
        if sub.suffix.lower() not in VIDEO_SUFFIXES:
            yield from _walk(sub)
    if not inner and next(clip_files(folder), None):
        yield folder
