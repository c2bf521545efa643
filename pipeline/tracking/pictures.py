"""Pictures and files that tracked runs carry: attention maps of a setting, figures and pages of its report.

Pictures need pillow (the extra `dashboards`); without it there are none, and nothing else changes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.arrays import Array
from pipeline.tracking.tracked import representatives

# A map has few positions: each is a square of so many pixels.
_PIXELS = 8
# A report is some megabytes; what else may lie in its folder is not uploaded.
_REPORT_FILES = (".html", ".png", ".svg")
_MOST_BYTES = 64 * 2**20


def has_pictures() -> bool:
    """Whether pictures can be made: wandb needs pillow for them."""
    return find_spec("PIL") is not None


def attention_pictures(arrays: Mapping[str, Array], caption: str) -> dict[str, Any]:
    """`attention/LAYER` -> picture of one run's attention, its heads side by side, averaged over items.

    `arrays` are (B, H, L, L) by layer; a row is a query, white is all of its attention. Empty without pillow.
    """
    if not has_pictures():
        return {}
    import wandb

    return {f"attention/{layer}": wandb.Image(_tiles(maps), caption=caption) for layer, maps in arrays.items()}


def representative_of(run_ids: Sequence[str]) -> str:
    """The run whose pictures stand for a setting: the middle one in order of run_id, which is a hash."""
    (row,) = representatives([{"run_id": run_id} for run_id in run_ids], 1)
    return str(row["run_id"])


@dataclass(frozen=True)
class ReportFiles:
    """The files of a sweep's report: pages and figures by name, with the digest of them all."""

    files: Mapping[str, Path]
    digest: str

    @staticmethod
    def of(results: Path) -> ReportFiles | None:
        """The report of a results folder; None without one. No link is followed."""
        folder = results / "report"
        if folder.is_symlink() or not (folder / "report.html").is_file():
            return None
        files = {
            path.name: path
            for path in sorted(folder.iterdir())
            if path.suffix in _REPORT_FILES and path.is_file() and not path.is_symlink()
        }
        if sum(path.stat().st_size for path in files.values()) > _MOST_BYTES:
            return None
        digest = hashlib.sha256()
        for name, path in files.items():
            digest.update(f"{name}:{path.stat().st_size}:".encode() + path.read_bytes())
        return ReportFiles(files, digest.hexdigest())

    def pictures(self) -> dict[str, Any]:
        """`report/FIGURE` -> picture, of the figures; empty without pillow."""
        if not has_pictures():
            return {}
        import wandb

        figures = {path.stem: path for path in self.files.values() if path.suffix == ".png"}
        return {f"report/{_word(stem)}": wandb.Image(str(path)) for stem, path in figures.items()}

    def artifact(self, sweep_id: str) -> Any:
        """The artifact that holds all of them; another version of the same where the sweep had one."""
        import wandb

        artifact = wandb.Artifact(f"report-{sweep_id}", type="report", metadata={"sha256": self.digest})
        for name, path in self.files.items():
            artifact.add_file(os.fspath(path), name=name)
        return artifact


def _tiles(maps_BHLL: Array) -> Array:
    mean_HLL = np.asarray(maps_BHLL, np.float64).mean(axis=0)
    pixels_HLL = np.clip(np.rint(mean_HLL * 255), 0, 255).astype(np.uint8)
    gap = np.full((pixels_HLL.shape[1], 1), 128, np.uint8)
    parts = [part for head in pixels_HLL for part in (gap, head)][1:]
    return np.kron(np.concatenate(parts, axis=1), np.ones((_PIXELS, _PIXELS), np.uint8))


def _word(stem: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in stem)
