"""A real Slurm with two nodes on this host, whose job array works on one sweep while a node is killed.

`python -m tests.cluster.slurm` needs root and Debian's packages slurm-wlm and munge. It starts munged, slurmctld and
two slurmd of its own, in a folder and on ports of its own, and submits `sweeps/cluster/slurm_workers.sh` as an array of
four tasks with a GPU each (device files that are none). It kills one node with all that runs on it, starts it again,
and compares what the tasks, queued again by Slurm, have completed with the same sweep trained by a launch.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipeline.store.progress import unfinished
from pipeline.store.sweep_store import SweepStore
from tests.support import opened, tiny, trained
from tests.workers.fleet import problems

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
PATHS = "/usr/local/sbin:/usr/sbin:/sbin"
_CONF = """
ClusterName=seedbed
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SlurmdTimeout=10
SlurmctldTimeout=10
KillWait=5
ReturnToService=2
JobRequeue=1
GresTypes=gpu
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 Gres=gpu:2 State=UNKNOWN
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes=one,two Default=YES MaxTime=INFINITE State=UP
"""
_GRES = "NodeName=one,two Name=gpu File={folder}/gpu[0-1]\n"


class Slurm:
    """The daemons of a cluster of two nodes; to be used as a context, which ends what it started."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, dict[str, subprocess.Popen[bytes]]()
        self.host = socket.gethostname()
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{PATHS}:{os.environ['PATH']}",
        }

    def __enter__(self) -> Slurm:
        for name in ("state", "bin"):
            (self.folder / name).mkdir()
        ports = []
        for _ in range(3):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                ports.append(free.getsockname()[1])
        (self.folder / "slurm.conf").write_text(_CONF.format(folder=self.folder, host=self.host, ports=ports))
        (self.folder / "gres.conf").write_text(_GRES.format(folder=self.folder))
        for index in range(2):
            (self.folder / f"gpu{index}").touch()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(64))
        key.chmod(0o600)
        paths = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        given = [f"--{option}={self.folder}/munge.{name}" for option, name in paths.items()]
        self._start("munged", "munged", "--foreground", "--force", *given)
        until(lambda: (self.folder / "munge.socket").exists(), 20, "munged listens")
        self._start("slurmctld", "slurmctld", "-D")
        for node in ("one", "two"):
            self.start_node(node)
        until(lambda: self.states() == {"one": "idle", "two": "idle"}, 60, "both nodes are idle")
        return self

    def __exit__(self, *_: object) -> None:
        self.call("scancel", "--user", "root", check=False)
        for name in ("one", "two"):
            self.kill_node(name)
        for process in reversed(self.started.values()):
            process.terminate()
            process.wait(20)

    def _start(self, name: str, *command: str) -> None:
        log = (self.folder / f"{name}.out").open("ab")
        self.started[name] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def start_node(self, name: str) -> None:
        """Start the daemon of a node."""
        self._start(name, "slurmd", "-D", "-N", name)

    def kill_node(self, name: str) -> int:
        """Kill a node's daemon and all that it started, as a loss of power would; how many processes that were."""
        daemon = self.started.pop(name, None)
        if daemon is None:
            return 0
        mine = [daemon.pid, *self._processes_on(name)]
        for process in mine:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        daemon.wait()
        return len(mine)

    def _processes_on(self, name: str) -> list[int]:
        """What this cluster runs on a node, by the environment that Slurm gives it, and before that what watches it."""
        wanted = {f"SLURMD_NODENAME={name}".encode(), f"SLURM_CONF={self.folder}/slurm.conf".encode()}
        tasks, parents = [], set()
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if wanted <= set((path / "environ").read_bytes().split(b"\0")):
                    tasks.append(int(path.name))
                    parents.add(int((path / "stat").read_text().rpartition(")")[2].split()[1]))
        daemons = [pid for pid in parents if _command_of(pid).startswith(b"slurmstepd")]
        return [*daemons, *tasks]

    def call(self, *command: str, check: bool = True) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if check and done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {done.stderr}")
        return done.stdout

    def states(self) -> dict[str, str]:
        """Node -> its state."""
        lines = self.call("sinfo", "--Node", "--noheader", "--format", "%N %T", check=False).splitlines()
        return dict(line.split() for line in lines if len(line.split()) == 2)

    def tasks(self) -> list[list[str]]:
        """The tasks of the queue: job and task, state, node, and how often they were queued again."""
        listed = self.call(
            "squeue", "--noheader", "--array", "--Format", "JobArrayID:20,State:20,NodeList:20,restartcnt:10"
        )
        return [line.split() for line in listed.splitlines()]


def _command_of(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def until(is_so: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until it is so. Raises TimeoutError, naming what was waited for."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.5)


def submit(slurm: Slurm, folder: Path, num_tasks: int) -> str:
    """Submit the array; its job id. The tasks run this checkout's seedbed."""
    command = slurm.folder / "bin" / "seedbed"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m sweeps.cli "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}:{slurm.environment['PATH']}"
    variables = {"PATH": path, "PYTHONPATH": str(ROOT), "SEEDBED_COMMIT_S": "0.2", "SEEDBED_BEAT_S": "1"}
    exported = ",".join(f"{name}={value}" for name, value in variables.items())
    options = ["--parsable", "--array", f"0-{num_tasks - 1}", "--gres", "gpu:1", "--export", exported]
    options += ["--output", f"{slurm.folder}/task-%a.out", "--chdir", str(ROOT)]
    script = ROOT / "sweeps" / "cluster" / "slurm_workers.sh"
    return slurm.call("sbatch", *options, str(script), str(folder)).strip()


def main() -> None:
    """Complete a sweep by a job array of which a node is killed; exits with 1 and what is wrong, if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--packs", type=int, default=6)
    parser.add_argument("--budget", type=int, default=400)
    given = parser.parse_args()
    missing = [name for name in NEEDED if shutil.which(name, path=f"{PATHS}:{os.environ['PATH']}") is None]
    if missing or os.getuid() != 0:
        sys.exit(f"this needs root and {', '.join(missing) or 'nothing else'}: apt-get install slurm-wlm munge")
    base = Path(tempfile.mkdtemp(prefix="seedbed-slurm-"))
    sizes = [8 + index for index in range(given.packs)]
    resources, seeds = {"slots": 2}, {"together": [0, 1]}
    spec = tiny(vary=[{"batch_size": sizes}], budget=given.budget, seeds=seeds, resources=resources)
    reference, store = trained(spec, base / "reference"), opened(spec, base / "r")
    (base / "slurm").mkdir()
    with Slurm(base / "slurm") as slurm:
        job = submit(slurm, store.folder, given.tasks)
        until(lambda: len(store.newest_records()) >= 2, 300, "two packs have committed")
        before = slurm.tasks()
        print(f"job {job}:", *map(" ".join, before), sep="\n  ", flush=True)
        num_killed = slurm.kill_node("one")
        print(f"node one was killed, with {num_killed} processes", flush=True)
        until(lambda: slurm.states().get("one", "").startswith("down"), 120, "Slurm has seen it")
        slurm.start_node("one")
        until(lambda: any(int(task[-1] if task[-1].isdecimal() else 0) for task in slurm.tasks()), 120, "a requeue")
        print("queued again:", *map(" ".join, slurm.tasks()), sep="\n  ", flush=True)
        until(lambda: not slurm.tasks(), 600, "all tasks have ended")
    found = list(problems(SweepStore(store.folder), reference))
    if found or unfinished(store):
        sys.exit(f"{'; '.join(found)}; see {base}")
    attempts = [store.pack(pack).newest_attempt() for pack in store.pack_ids()]
    shutil.rmtree(base)
    print(f"{given.tasks} tasks, {given.packs} packs, {sum(attempts)} attempts: each run once, bits equal to a launch")


if __name__ == "__main__":
    main()
