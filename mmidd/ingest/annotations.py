"""Finding a source's annotation files."""

from __future__ import annotations

from pathlib import Path


def find_file(name: str, root: Path, named: Path | None, subfolders: tuple[str, ...] = ()) -> Path | None:
    """An annotation file by its name in any case, or None.

    Args:
        name: file name.
        root: where the layout begins; its parent is searched too.
        named: folder that the user gave with --annotations; it comes first.
        subfolders: folders inside those that may hold it.
    """
    places = [folder for folder in (named, root, root.parent) if folder]
    for folder in (place / sub for place in places for sub in ("", *subfolders)):
        if folder.is_dir():
            files = (p for p in sorted(folder.iterdir()) if p.name.lower() == name.lower() and p.is_file())
            if found := next(files, None):
                return found
    return None
