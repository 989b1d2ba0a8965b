"""The environment of a process that finds this checkout as if it were installed: packages and entry points."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment(directory: Path, *projects: Path) -> dict[str, str]:
    """``directory`` gets the metadata of this distribution, and of those whose sources lie in ``projects``."""
    roots = (ROOT, *projects)
    for root in roots:
        _write_metadata(directory, tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"])
    path = os.pathsep.join(str(place) for place in (*roots, directory))
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _write_metadata(directory: Path, project: dict[str, dict[str, dict[str, str]]]) -> None:
    name, version = project["name"], project["version"]
    metadata = directory / f"{str(name).replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
