"""`seedbed checkpoint`: the weights of one run as a file that Lightning and torch read."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from pipeline.store.files import write_file
from pipeline.store.pack_store import StoreError
from pipeline.training.checkpoint import checkpoint
from sweeps.command.replaying import find_run


def run_checkpoint(run: str, results: Path | None, step: int | None, to: Path | None, out: Console) -> int:
    """Writes the run whose id begins with `run`, at `step` (None: its last), to `to` (None: RUN-STEP.ckpt).

    Returns the exit code, as `find_run` has it. Raises StoreError where there is no such run or step, or its file is
    there already.
    """
    store, run_id, code = find_run(run, results)
    last = next((end.step for record in store.newest_records().values() if (end := record.ends.get(run_id))), None)
    if step is None and last is None:
        raise StoreError(f"run {run_id} has not ended; give the step, as --step 100")
    at = step if step is not None else last
    assert at is not None
    path = to or Path(f"{run_id}-{at}.ckpt")
    if path.exists():
        raise StoreError(f"{path}: exists already; name another with --out")
    write_file(path, checkpoint(store, run_id, at))
    out.print(str(path), soft_wrap=True, highlight=False, markup=False)
    return code
