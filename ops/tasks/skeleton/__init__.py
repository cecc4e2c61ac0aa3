"""The files of a new repository, and writing them without overwriting anything."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

FILES = {
    "tasks.py": "tasks.py.txt",
    "inventories/staging.yaml": "staging.yaml",
    "compose.example.yaml": "compose.example.yaml",
    "templates/README.md": "templates.md",
    "runbooks/README.md": "runbooks.md",
    "README.opsbook.md": "readme.md",
    "requirements.opsbook.txt": "requirements.txt",
    ".gitignore": "gitignore",
}
"""Path in the repository -> file of this package."""


class Occupied(Exception):
    """Files of the skeleton are there already; nothing was written. The message lists them."""

    def __init__(self, folder: Path, paths: tuple[str, ...]) -> None:
        listed = "".join(f"\n  {folder / p}" for p in paths)
        super().__init__(
            f"these exist already, nothing was written:{listed}\n"
            "Move them away, or write the skeleton elsewhere with --path and take from it what you need."
        )
        self.paths = paths


def write(folder: Path) -> tuple[Path, ...]:
    """Writes the skeleton and returns the paths. Raises Occupied, before the first file; OSError."""
    occupied = tuple(path for path in FILES if (folder / path).exists() or (folder / path).is_symlink())
    if occupied:
        raise Occupied(folder, occupied)
    made = []
    for path, source in FILES.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # "x": whoever was quicker keeps their file
        with target.open("x", encoding="utf-8") as stream:
            stream.write(content(source))
        made.append(target)
    return tuple(made)


def content(source: str) -> str:
    """The text of a file of this package."""
    return _folder().joinpath(source).read_text(encoding="utf-8")


def _folder() -> Traversable:
    return files(__package__).joinpath("files")
