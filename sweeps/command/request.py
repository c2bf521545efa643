"""Arguments of `seedbed plan` and `launch`: a sweep file, overrides, and where and how to train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.own_code.imported import entries
from pipeline.planning.consent import keep_allowed
from pipeline.spec.sweep import SweepSpec, load_spec
from pipeline.store.pack_store import StoreError
from sweeps.command.how import HERE, How
from sweeps.command.shipped import sweep_file
from sweeps.command.smoke import smoke


@dataclass(frozen=True)
class Request:
    """Arguments of `seedbed plan` and `launch`."""

    path: Path
    overrides: tuple[str, ...] = ()
    results: Path | None = None
    how: How = HERE
    is_smoke: bool = False

    @property
    def file(self) -> Path:
        """The sweep file; `path` may also be the name of one that comes with seedbed. Raises StoreError."""
        return sweep_file(self.path)

    def spec(self) -> SweepSpec:
        """The requested sweep. Raises SpecError, and StoreError if options contradict each other."""
        if self.how.address is not None and self.how.is_inline:
            raise StoreError("--address has no effect with --inline, which trains in this process")
        spec = load_spec(self.file, self.overrides, entries())
        # A results folder of this sweep may be read and resumed without naming its code again.
        keep_allowed()
        if spec.fork is not None:
            # Workers have folders of their own: the parents' must be named in full.
            parents = str(Path(spec.fork.sweep).resolve())
            data = spec.identity()
            spec = SweepSpec.model_validate({**data, "fork": {**data["fork"], "sweep": parents}})
        return smoke(spec) if self.is_smoke else spec

    def folder(self, spec: SweepSpec) -> Path:
        """Its results folder, which may not exist yet."""
        return self.results or Path("results") / spec.name
