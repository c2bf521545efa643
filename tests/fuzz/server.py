"""Runs the `seedbed` command on one input, in a forked child of a process that has imported everything.

A child has a folder of its own for all that it may touch, a limit of memory, and an environment made of nothing. Where
the tests run as root it becomes `nobody`, so that permissions count and nothing else on the machine can be changed.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import pkgutil
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.case import Case

# Processor time that an answer may take, beside the import of Python's modules, and the memory that it may need.
LIMIT_S, LIMIT_MIB = 3.0, 1024
# Whoever has slept for so long waits for something that will not come. Waiting for a processor is not sleeping.
WAITS_S = 40.0
# Whatever a process does beside computing and sleeping, such as waiting for a disk, it has done after so long.
ENDS_S = 900.0
# The most that one look at a process says of how long it has slept.
_LOOK_S = 0.1
# A command that has computed for as long and has said what it does is training.
TRAINS_S = 0.8
# One that watches a sweep has answered after so long.
WATCHES_S = 3.0
NOBODY = 65534
_TICK = os.sysconf("SC_CLK_TCK")
_MIB = 2**20


@dataclass(frozen=True)
class Answer:
    """What a command did: exit code, or minus the signal that killed it; its output; processor and wall-clock time."""

    code: int
    out: str
    err: str
    cpu_s: float
    wall_s: float
    peak_mib: float
    is_late: bool
    log: str = ""

    @property
    def text(self) -> str:
        """All that it printed."""
        return self.out + self.err


def import_all() -> None:
    """Import what the commands import when they are called, without Ray; and freeze it for the forks."""
    for name in ("sweeps.cli", "sweeps.command", "pipeline", "analysis"):
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            # The one is a command, the other a kernel for GPUs, whose compiler need not be installed.
            if not found.name.endswith(("__main__", "philox_triton")):
                importlib.import_module(found.name)
    # No cluster is started by a case.
    for name in ("ray", "wandb"):
        sys.modules[name] = None  # type: ignore[assignment]
    importlib.import_module("sweeps.cli.__main__")
    # What Python itself imports late may lie where `nobody` cannot read.
    for name in ("utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le", "latin_1", "ascii", "idna"):
        importlib.import_module(f"encodings.{name}")
    gc.collect()
    gc.freeze()


def answered(case: Case, base: Path) -> Answer:
    """The answer of `seedbed` to a case whose files stand in `base`/work."""
    started = time.monotonic()
    printed = [base / "out", base / "err"]
    for path in printed:
        path.touch(mode=0o600)
    pid = os.fork()
    if pid == 0:
        _be_command(case, base, printed)
    code, is_late, used = _wait(pid, started, case, printed)
    texts = (printed[0].read_text(errors="replace"), printed[1].read_text(errors="replace"))
    cpu_s, peak_mib = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    return Answer(code, *texts, cpu_s, time.monotonic() - started, peak_mib, is_late, _logged(base))


def _logged(base: Path) -> str:
    """What the command logged of an exception that it did not foresee."""
    return "".join(path.read_text(errors="replace") for path in (base / "tmp").glob("seedbed-error-*.log"))


def _be_command(case: Case, base: Path, printed: list[Path]) -> None:
    code = 70
    try:
        os.setpgid(0, 0)
        os.chdir(base / "work")
        _redirect(case, printed)
        _set_environment(case.environment, base)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # What draws figures reserves addresses by the terabyte.
        if "report" not in case.arguments[:1]:
            _limit_memory()
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        os.umask(0o022)
        sys.argv = ["seedbed", *case.arguments]
        code = _main()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):
                code = code or 120
        os._exit(code)


def _redirect(case: Case, printed: list[Path]) -> None:
    """Standard streams as the case has them: files, nothing, or a device that is always full."""
    for number, (how, path) in enumerate(zip((case.stdin, case.stdout, case.stderr), (None, *printed), strict=True)):
        if how == "closed":
            os.close(number)
            continue
        target = {"null": "/dev/null", "full": "/dev/full"}.get(how) or str(path)
        descriptor = os.open(target, os.O_RDWR)
        os.dup2(descriptor, number)
        os.close(descriptor)
    encoding = case.environment.get("PYTHONIOENCODING") or "utf-8"
    sys.stdin = _stream(case.stdin, 0, "r", encoding, "strict")
    sys.stdout = _stream(case.stdout, 1, "w", encoding, "strict")
    sys.stderr = _stream(case.stderr, 2, "w", encoding, "backslashreplace")
    if sys.stderr is not None:
        sys.stderr.reconfigure(line_buffering=True)


def _stream(how: str, number: int, mode: str, encoding: str, errors: str) -> io.TextIOWrapper | None:
    """As the interpreter makes it at its start: none of a closed descriptor."""
    return None if how == "closed" else open(number, mode, encoding=encoding, errors=errors)


def _set_environment(changes: Mapping[str, str | None], base: Path) -> None:
    usual = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(base / "home"),
        "TMPDIR": str(base / "tmp"),
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        # Compiling takes longer than an answer may.
        "CXX": "/nonexistent/c++",
        "SEEDBED_COMMIT_S": "0",
    }
    # Where temporary files go is asked once in a process.
    tempfile.tempdir = None
    os.environ.clear()
    os.environ.update({name: value for name, value in {**usual, **changes}.items() if value is not None})
    time.tzset()


def _limit_memory() -> None:
    """Twice what is allowed beyond what is mapped already, so that an excess is seen, and the machine is not."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    most = mapped + 2 * LIMIT_MIB * _MIB
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _main() -> int:
    from sweeps.cli.__main__ import main

    try:
        main()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        # What the interpreter would print.
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _wait(pid: int, started: float, case: Case, printed: list[Path]) -> tuple[int, bool, resource.struct_rusage]:
    """The exit code, whether the child had to be killed, and what it used; nobody of its group is left.

    Training and watching are not waited for once something is printed.
    """
    is_late, slept_s, looked = False, 0.0, started
    while True:
        found, status, used = os.wait4(pid, os.WNOHANG)
        if found:
            break
        now = time.monotonic()
        is_asleep, used_s = seen(pid)
        slept_s, looked = slept_s + is_asleep * min(now - looked, _LOOK_S), now
        has_begun = (case.is_training and used_s > TRAINS_S) or (
            case.is_watching and time.monotonic() - started > WATCHES_S
        )
        is_under_way = has_begun and any(path.stat().st_size for path in printed)
        if is_under_way or used_s > LIMIT_S or slept_s > WAITS_S or now - started > ENDS_S:
            is_late = True
            _end_group(pid)
        time.sleep(0.004)
    _end_group(pid)
    return os.waitstatus_to_exitcode(status), is_late, used


def seen(pid: int) -> tuple[bool, float]:
    """Whether a process sleeps, not whether it waits for a processor; its processor seconds and those of its children.

    Of children those that have ended. A process that is gone does not sleep, and has used nothing.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False, 0.0
    return fields[0] == "S", sum(map(int, fields[11:15])) / _TICK


def _end_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
