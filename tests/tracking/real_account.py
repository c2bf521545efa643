"""Checks against a real wandb account what the tests suppose of its server. Run by a person, never by the suite:

    WANDB_API_KEY=... python -m tests.tracking.real_account [ENTITY]

It makes a project `seedbed-check-TIME` in the account, mirrors a few runs made by hand to it, kills a mirror on the
way, and compares what the server then says that it has: every row once, names, groups, tags, config, summary, times. At
the end it prints where the project is; delete it by hand. Nothing else of the account is touched. It ends with 0 if all
is as supposed, else with a line for each difference.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.tracking.tracked import STEPS, Sweep, command, expected_rows, run_mirror

_SETTLE_S = 20.0


def main(entity: str | None) -> int:
    """Mirror, kill, continue, and compare with what the server has."""
    if not os.environ.get("WANDB_API_KEY"):
        print("WANDB_API_KEY is not set", file=sys.stderr)
        return 2
    import wandb

    key = {"WANDB_API_KEY": os.environ["WANDB_API_KEY"]}
    project = f"seedbed-check-{int(time.time())}"
    with tempfile.TemporaryDirectory() as folder:
        tracking = {"mode": "online", "project": project} | ({} if entity is None else {"entity": entity})
        sweep = Sweep(Path(folder) / "s", num_seeds=2, **tracking)
        for run_id in sweep.run_ids:
            sweep.train(run_id, 200)
        sweep.commit()
        process = subprocess.Popen(command(sweep.folder, "--driven"), env=os.environ | key, stdin=subprocess.PIPE)
        time.sleep(_SETTLE_S)
        process.kill()
        process.wait()
        sweep.finish()
        run_mirror(sweep.folder, **key)
        time.sleep(_SETTLE_S)
        api = wandb.Api()
        path = f"{entity or api.default_entity}/{project}"
        problems = [line for run_id in sweep.run_ids for line in differences(api, path, sweep, run_id)]
    print(*problems, f"looked at: {path}", sep="\n")
    return 1 if problems else 0


def differences(api: Any, path: str, sweep: Sweep, run_id: str) -> list[str]:
    """What the server has of a run and should not, or the other way round."""
    run = api.run(f"{path}/{sweep.id}-{run_id}")
    config = sweep.plan.runs[run_id]
    width = config.hyperparameters()["model.head_width"]
    found = {
        "steps": [row["_step"] for row in run.scan_history(keys=["_step"])],
        "losses": [row["label/loss"] for row in run.scan_history(keys=["label/loss"])],
        "name": run.name,
        "group": run.group,
        "tags": sorted(run.tags),
        "job type": run.job_type,
        "head width": run.config["model"]["head_width"],
        "outcome": run.summary.get("outcome"),
        "is recent": abs(next(iter(run.scan_history(keys=["_timestamp"])))["_timestamp"] - time.time()) < 3600,
    }
    expected = {
        "steps": STEPS,
        "losses": [row["label/loss"] for _, row in expected_rows(sweep, run_id)],
        "name": f"hw{width}-s{config.init_seed}",
        "group": f"tiny: model.head_width={width}",
        "tags": sorted(["tiny", sweep.id, "run", "unconverged"]),
        "job type": "run",
        "head width": width,
        "outcome": "unconverged",
        "is recent": True,
    }
    return [
        f"{run_id}: {what} is {found[what]}, not {expected[what]}" for what in found if found[what] != expected[what]
    ]


if __name__ == "__main__":
    sys.exit(main((sys.argv[1:] or [None])[0]))
