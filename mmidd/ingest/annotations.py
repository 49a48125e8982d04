"""Finding a source's annotation files."""

from __future__ import annotations

from pathlib import Path

from mmidd.ingest.tree import child


def find_file(name: str, root: Path, named: Path | None, subfolders: tuple[str, ...] = ()) -> Path | None:
    """An annotation file by its name in any case, or None.

    Args:
        name: file name.
        root: where the layout begins; its parent is searched too.
        named: folder that the user gave with --annotations; it comes first.
        subfolders: folders inside those that may hold it, such as `dataset/splits`, in any case.
    """
    places = [folder for folder in (named, root, root.parent) if folder]
    inside = (_below(place, sub) for place in places for sub in ("", *subfolders))
    for folder in inside:
        if folder and folder.is_dir():
            files = (p for p in sorted(folder.iterdir()) if p.name.lower() == name.lower() and p.is_file())
            if found := next(files, None):
                return found
    return None


def _below(place: Path, path: str) -> Path | None:
    folder: Path | None = place
    for part in path.split("/") if path else ():
        folder = child(folder, part) if folder else None
    return folder
