"""Disks that are really full or read-only (small file systems in memory), and limits that a process runs under."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.faults.cases import Case
from tests.faults.checking import Verdict, judge
from tests.faults.commands import seedbed

_LIBC = ctypes.CDLL(None, use_errno=True)
_MS_RDONLY, _MS_REMOUNT, _MNT_DETACH = 1, 32, 2
_ENOUGH = "size=16m,nr_inodes=4096"
# A page is the least that a file takes there. A finished sweep takes about 250 KiB, in 40 files and folders.
_PAGE_KIB, _MOST_PAGES, _MOST_INODES = 4, 60, 40
_MIB = 2**20


def _mount(folder: Path, options: str, flags: int = 0) -> None:
    if _LIBC.mount(b"seedbed", str(folder).encode(), b"tmpfs", flags, options.encode()):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), str(folder))


@contextmanager
def _disk(folder: Path, options: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    _mount(folder, f"mode=0700,{options}")
    try:
        yield
    finally:
        _LIBC.umount2(str(folder).encode(), _MNT_DETACH)


def may_mount(folder: Path) -> bool:
    """Whether this process may mount file systems, which needs root."""
    try:
        with _disk(folder / "mounted", _ENOUGH):
            return True
    except OSError:
        return False


def try_full(case: Case, options: str, cwd: Path) -> Verdict:
    """Launch on a disk with too little space or too few names, which then gets more."""
    case.begun(cwd)
    kind = "disk without space (tmpfs)" if options.startswith("size") else "disk without inodes (tmpfs)"
    with _disk(cwd / "r", options):
        ended = seedbed(case.command, cwd, cwd / "r")
        _mount(cwd / "r", _ENOUGH, _MS_REMOUNT)
        return judge(Verdict(kind, f"{case.name}, {options}"), cwd, ended, case)


def try_read_only(case: Case, cwd: Path) -> Verdict:
    """Run a command on a sweep that lies on a read-only file system, which can then be written again."""
    kept = case.begun(cwd) / "r"
    source = cwd.with_name(f"{cwd.name}-source")
    if kept.exists():
        kept.rename(source)
    with _disk(kept, _ENOUGH):
        if source.exists():
            shutil.copytree(source, kept, dirs_exist_ok=True)
            shutil.rmtree(source)
        before = sorted(path.name for path in kept.rglob("*"))
        _mount(kept, _ENOUGH, _MS_REMOUNT | _MS_RDONLY)
        ended = seedbed(case.command, cwd, kept)
        verdict = Verdict("read-only disk (tmpfs)", case.name)
        if sorted(path.name for path in kept.rglob("*")) != before:
            verdict.problems.append("it was written to")
        _mount(kept, _ENOUGH, _MS_REMOUNT)
        return judge(verdict, cwd, ended, case)


def try_limit(case: Case, name: str, value: int, cwd: Path) -> Verdict:
    """Run a command under a limit of its process."""
    limits = {getattr(resource, name): value}
    ended = seedbed(case.command, case.begun(cwd), cwd / "r", limits=limits)
    return judge(Verdict(name, f"{case.name}, {value}"), cwd, ended, case)


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def plan_disks(
    launches: tuple[Case, ...], others: tuple[Case, ...], base: Path, chance: random.Random
) -> Iterator[partial[Verdict]]:
    """Full disks of random sizes, read-only ones, and random limits, in turn; no disks where nothing may be mounted."""
    has_disks = may_mount(base)
    while True:
        if has_disks:
            yield partial(try_full, chance.choice(launches), f"size={_PAGE_KIB * chance.randint(1, _MOST_PAGES)}k")
            yield partial(try_full, chance.choice(launches), f"nr_inodes={chance.randint(2, _MOST_INODES)}")
            yield partial(try_read_only, chance.choice((*launches, *others)))
        case = chance.choice((*launches, *others))
        num_open = len(os.listdir("/proc/self/fd"))
        yield partial(try_limit, case, "RLIMIT_FSIZE", int(2 ** chance.uniform(0, 15)))
        yield partial(try_limit, case, "RLIMIT_NOFILE", num_open + chance.randint(4, 20))
        # By compiled programs, whose bits do not depend on the slots that a pack without memory gives up.
        case = chance.choice((launches[0], *others))
        yield partial(try_limit, case, "RLIMIT_AS", _address_space() + chance.randint(0, 256) * _MIB)
