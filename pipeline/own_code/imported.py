"""Code of one's own: modules that a sweep file or the command line names, and installed plug-ins.

A class with a `name` that such a module defines is registered as one in a folder of this package would be.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import FunctionType, ModuleType

from pipeline.own_code.closure import own_files
from pipeline.own_code.places import place_in_file
from pipeline.own_code.shadowed import shadowed_files

# Between a module and the folder that it is imported from, in the resolved form of an entry.
_FROM = " from "
# What a file is imported as: no installed module has such a name.
_PREFIX = "seedbed_imported_"
# What a class derives from that is to be registered.
_OURS = ("pipeline.", "analysis.")

_modules: dict[str, ModuleType] = {}
# Entry -> the folder of a copy that it is imported from.
_copies: dict[str, Path] = {}
_allowed: set[str] = set()
_is_kept: list[Callable[[str], bool]] = []


class OwnCodeError(ValueError):
    """A module that cannot be imported, or gives nothing; the message names its file, and line where there is one."""


def resolved(entry: str, folder: Path) -> str:
    """The entry of a sweep file in `folder` as any process can import it.

    A path (`./my_task.py`, from that folder on) becomes absolute. A module (`my_pkg.tasks`) stays as it is where it is
    installed, and otherwise names the folder that it is in: that of the sweep file, or the working directory. Raises
    OwnCodeError if there is no such file or module.
    """
    if _FROM in entry or entry in _copies:
        return entry
    if _is_path(entry):
        path = _absolute(entry, folder)
        if not path.is_file():
            raise OwnCodeError(f"there is no file {path}")
        return str(path)
    if not all(part.isidentifier() for part in entry.split(".")):
        raise OwnCodeError(f"{entry!r} is neither a path, as ./my_task.py, nor a module, as my_pkg.tasks")
    first, searched = entry.partition(".")[0], (folder.resolve(), Path.cwd())
    for root in searched:
        if (root / first).is_dir() or (root / f"{first}.py").is_file():
            return f"{entry}{_FROM}{root}"
    if importlib.util.find_spec(first) is None:
        raise OwnCodeError(f"there is no module {first!r}, in {searched[0]}, in {searched[1]}, or installed")
    return entry


def _absolute(path: str, folder: Path) -> Path:
    try:
        return (folder / Path(path).expanduser()).resolve()
    except RuntimeError as error:
        raise OwnCodeError(f"{path}: {error}") from None


def load(entry: str) -> ModuleType:
    """The module of a resolved entry, imported once in a process. Raises OwnCodeError, naming the line that failed.

    The folder that it is imported from is searched last by later imports of this process. An entry whose own imports
    would give other files than those beside it, by which it is known, is refused.
    """
    if entry not in _modules:
        file = file_of(entry)
        digest = content_digest(entry)
        root = str(_root(entry))
        if root not in sys.path:
            sys.path.append(root)
        # Below the working directory a command may have been started that wrote this module a moment ago.
        importlib.invalidate_caches()
        _refuse_shadowed(entry, file)
        try:
            module = _from_file(file) if _is_path(entry) else importlib.import_module(entry.partition(_FROM)[0])
        except (Exception, SystemExit) as error:
            raise OwnCodeError(_where(error, file)) from error
        if (why := _why_useless(module)) is not None:
            raise OwnCodeError(f"{file}: {why}")
        if (found := getattr(module, "__file__", None)) is not None and Path(found).resolve() != file.resolve():
            raise OwnCodeError(f"{file}: another module of this name, {found}, comes before it; rename one")
        _modules[entry] = module
        allow([digest])
    return _modules[entry]


def _refuse_shadowed(entry: str, file: Path) -> None:
    """Raises OwnCodeError where the entry's own imports would give modules of other folders, or of Python."""
    if not _is_path(entry) and _FROM not in entry:
        return
    # A file that is imported by its path is found there whatever its name.
    beside = {name: own for name, own in files_of(entry).items() if not (own == file and _is_path(entry))}
    for own, found in shadowed_files(beside):
        raise OwnCodeError(f"{own}: another module of this name, {found}, comes before it; rename one")


def modules() -> tuple[ModuleType, ...]:
    """What was imported so far, in that order."""
    return tuple(_modules.values())


def plain_name(module: ModuleType) -> str:
    """The name by which a sweep file speaks of a module: of a file that was imported by its path, the file's own."""
    return module.__name__.removeprefix(_PREFIX)


def entries() -> tuple[str, ...]:
    """The entries that were imported so far, in that order."""
    return tuple(_modules)


def forget(entry: str) -> None:
    """Takes back that an entry was imported: its classes are registered no more."""
    _copies.pop(entry, None)
    module = _modules.pop(entry, None)
    if module is not None:
        sys.modules.pop(module.__name__, None)


@cache
def plugins(group: str) -> tuple[ModuleType, ...]:
    """The modules that installed packages offer under an entry point group; one that fails is left out, with a line."""
    found = []
    for point in entry_points(group=group):
        try:
            found.append(importlib.import_module(point.module))
        except Exception as error:
            print(f"seedbed: plug-in {point.value} of {group} is left out: {error}", file=sys.stderr)
    return tuple(found)


def file_of(entry: str) -> Path:
    """The file that a resolved entry imports. Raises OwnCodeError if it is not there."""
    name, _, root = entry.partition(_FROM)
    copy = _copies.get(entry)
    if _is_path(entry):
        path = Path(entry) if copy is None else copy / Path(entry).name
    elif copy is not None:
        path = _module_file(name, copy)
    else:
        path = _module_file(name, Path(root)) if root else _installed_file(name)
    if not path.is_file():
        raise OwnCodeError(f"there is no file {path}")
    return path


def files_of(entry: str) -> dict[str, Path]:
    """Name -> file, for all of the user's own that a resolved entry consists of; of an installed module its file alone.

    Names are from the folder on that the module is imported from. Raises OwnCodeError for a file that is not there, or
    is no Python.
    """
    file = file_of(entry)
    if not _is_path(entry) and _FROM not in entry:
        return {file.name: file}
    try:
        return own_files(file, _PREFIX + file.stem if _is_path(entry) else entry.partition(_FROM)[0])
    except SyntaxError as error:
        raise OwnCodeError(_where(error, file)) from None


def content_digest(entry: str) -> str:
    """The hash under which an entry is allowed: of all its files, with their names."""
    digest = hashlib.sha256()
    for name, file in sorted(files_of(entry).items()):
        digest.update(f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def is_here(entry: str, may_differ: bool = True) -> bool:
    """Whether an entry was imported, or its files are where it says and, unless they may differ, are as allowed."""
    if entry in _modules or entry in _copies:
        return True
    try:
        digest = content_digest(entry)
    except (OwnCodeError, OSError):
        return False
    return may_differ or _may_load(digest)


def use_copy(entry: str, folder: Path) -> bool:
    """From now on the entry is imported from `folder`, if what is there is allowed; False, and nothing done, if not."""
    _copies[entry] = folder
    try:
        if _may_load(content_digest(entry)):
            return True
    except (OwnCodeError, OSError):
        pass
    del _copies[entry]
    return False


def allow(hashes: Iterable[str]) -> None:
    """Files with these hashes may be imported where a results folder asks for it, in this process."""
    _allowed.update(hashes)


def allowed() -> frozenset[str]:
    """The hashes that this process allows."""
    return frozenset(_allowed)


def consult(is_kept: Callable[[str], bool]) -> None:
    """Ask this function, too, whether a file with a hash may be imported."""
    _is_kept[:] = [is_kept]


def refused(entries: Collection[str]) -> list[str]:
    """The entries of a results folder whose files this user has not imported before, as they are now.

    Raises OwnCodeError for a file that is not there.
    """
    return [entry for entry in entries if entry not in _modules and not _may_load(content_digest(entry))]


def _may_load(digest: str) -> bool:
    return digest in _allowed or any(is_kept(digest) for is_kept in _is_kept)


def _is_path(entry: str) -> bool:
    return _FROM not in entry and (entry.endswith(".py") or "/" in entry)


def _root(entry: str) -> Path:
    """The folder from which the names of the module's own imports start."""
    if entry in _copies:
        return _copies[entry]
    name, _, root = entry.partition(_FROM)
    return Path(root) if root else Path(name).parent if _is_path(entry) else Path(sys.prefix)


def _module_file(name: str, root: Path) -> Path:
    path = root.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _installed_file(name: str) -> Path:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None:
        raise OwnCodeError(f"there is no module {name!r} installed")
    return Path(found.origin)


def _from_file(file: Path) -> ModuleType:
    name = _PREFIX + file.stem
    if name in sys.modules:
        raise OwnCodeError(f"{file}: another imported file is called {file.name}, too; rename one")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _where(error: BaseException, file: Path) -> str:
    """FILE:LINE: what happened; the line is the last one of the file itself, or of a syntax error."""
    if isinstance(error, OwnCodeError):
        return str(error)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {error.msg}"
    told = str(error) or "no message"
    return f"{place_in_file(file, error)}: {type(error).__name__}: {told.splitlines()[0]}"


def _why_useless(module: ModuleType) -> str | None:
    """Why a module gives nothing that a sweep file can name: a class with a `name`, or a function; None if it does."""
    if list(named_classes(module)) or _has_lightning(module):
        return None
    for cls in _own_classes(module):
        if any(base.__module__.startswith(_OURS) for base in cls.__mro__):
            return f"class {cls.__name__} has no `name`, by which sweep files and commands speak of it"
    own = (found for found in vars(module).values() if getattr(found, "__module__", None) == module.__name__)
    if any(isinstance(found, FunctionType) for found in own):
        return None
    return "defines no class with a `name` and no function, so there is nothing that a sweep file could name"


def named_classes(module: ModuleType) -> Iterator[type]:
    """The classes with a name of their own that a module, or a module below it, defines."""
    return (candidate for candidate in _own_classes(module) if isinstance(candidate.__dict__.get("name"), str))


def _own_classes(module: ModuleType) -> Iterator[type]:
    below = f"{module.__name__}."
    for candidate in vars(module).values():
        if isinstance(candidate, type):
            home = candidate.__module__
            if home == module.__name__ or home.startswith(below):
                yield candidate


def lightning_modules(module: ModuleType) -> Iterator[type]:
    """The LightningModules that a module, or a module below it, defines."""
    own = dict.fromkeys(_own_classes(module))
    return (cls for cls in own if any(base.__name__ == "LightningModule" for base in cls.__mro__))


def _has_lightning(module: ModuleType) -> bool:
    bases = {base.__name__ for cls in _own_classes(module) for base in cls.__mro__}
    return not bases.isdisjoint(("LightningModule", "LightningDataModule"))


def entry_of(named: str) -> str:
    """The entry that imports a class named in a sweep file: `./lit.py` of `./lit.py:Lit`. Raises OwnCodeError."""
    entry, colon, name = named.rpartition(":")
    if not (entry and colon and name.isidentifier()):
        raise OwnCodeError(f"{named!r} should name a class, as my_pkg:Lit or ./lit.py:Lit")
    return entry


def class_named(named: str) -> type:
    """The class that a sweep file names by its module. Raises OwnCodeError if no such one was imported."""
    entry = entry_of(named)
    wanted = _PREFIX + Path(entry).stem if _is_path(entry) else entry
    module = next((module for module in modules() if module.__name__ == wanted), None)
    if module is None:
        raise OwnCodeError(f"{entry} was not imported; name it in `imports`")
    found = vars(module).get(named.rpartition(":")[2])
    if not isinstance(found, type):
        classes = ", ".join(cls.__name__ for cls in _own_classes(module)) or "none"
        raise OwnCodeError(f"{module.__file__} defines no class {named.rpartition(':')[2]} (classes: {classes})")
    return found
