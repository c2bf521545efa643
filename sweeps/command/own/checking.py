"""`seedbed check`: holds the classes of files of one's own to the contracts of their kinds, and says what they cost."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from rich.console import Console

from analysis.contracts.predictors import PREDICTOR_CONTRACT
from analysis.contracts.statistics import STATISTIC_CONTRACT
from pipeline.contracts.contract import Broken, Contract
from pipeline.contracts.lightning_modules import lightning_contract, settings_of
from pipeline.contracts.models import MODEL_CONTRACT
from pipeline.contracts.optimisers import OPTIMISER_CONTRACT
from pipeline.contracts.readings import READING_CONTRACT
from pipeline.contracts.runs import RUN_CONTRACT
from pipeline.contracts.schedules import SCHEDULE_CONTRACT
from pipeline.contracts.stopping_rules import STOPPING_CONTRACT
from pipeline.contracts.tasks import TASK_CONTRACT
from pipeline.own_code.imported import OwnCodeError, lightning_modules, load, named_classes, resolved
from pipeline.planning.consent import keep_allowed
from pipeline.spec.sweep import load_spec
from pipeline.store.pack_store import StoreError
from sweeps.command.exit_codes import COMPLETE, FAILED
from sweeps.command.own.kinds import KINDS_OF_CODE, kind_of
from sweeps.command.own.pricing import price
from sweeps.command.terminal.wrapped import print_wrapped

_SWEEPS = (".yaml", ".yml")

# Kind -> what its classes are held to: the contract of its base class and, of what a run is made of, that of runs.
CONTRACTS: dict[str, tuple[Contract, ...]] = {
    "task": (TASK_CONTRACT, RUN_CONTRACT),
    "model": (MODEL_CONTRACT, RUN_CONTRACT),
    "optimiser": (OPTIMISER_CONTRACT, RUN_CONTRACT),
    "schedule": (SCHEDULE_CONTRACT, RUN_CONTRACT),
    "reading": (READING_CONTRACT,),
    "statistic": (STATISTIC_CONTRACT,),
    "predictor": (PREDICTOR_CONTRACT,),
    "stopping": (STOPPING_CONTRACT,),
}


def run_check(files: Sequence[Path], out: Console) -> int:
    """Prints the clauses that the classes of these files break, each with its place; FAILED if there is one.

    Of a sweep file, the LightningModules in it are held to theirs, in its settings. Raises StoreError for a file that
    cannot be imported, or that defines no class of any kind; SpecError for a sweep file that is not valid.
    """
    held = [held for file in files for held in (_in_sweep(file) if file.suffix in _SWEEPS else _classes(file))]
    keep_allowed()
    return FAILED if [None for cls, contracts in held if not _holds(cls, contracts, out)] else COMPLETE


_Held = tuple[type, tuple[Contract, ...]]


def _in_sweep(file: Path) -> list[_Held]:
    settings = settings_of(load_spec(file))
    if not settings:
        raise StoreError(f"{file}: has no LightningModule; check the Python files of other classes")
    return [(cls, (lightning_contract(settings),)) for cls in settings]


def _classes(file: Path) -> list[_Held]:
    try:
        module = _module(file)
    except (OwnCodeError, OSError) as error:
        raise StoreError(str(error)) from None
    found = [cls for cls in dict.fromkeys(named_classes(module)) if kind_of(cls) is not None]
    modules = list(lightning_modules(module))
    if not (found or modules):
        kinds = ", ".join(kind.word for kind in KINDS_OF_CODE.values())
        raise StoreError(f"{file}: defines no LightningModule, and no class with a `name` that is a {kinds}")
    for cls in found:
        # Two classes of one name are refused.
        KINDS_OF_CODE[kind_of(cls) or ""].classes.get(vars(cls)["name"])
    held = [(cls, CONTRACTS[kind_of(cls) or ""]) for cls in found]
    return held + [(cls, (lightning_contract(None, _entry(file)),)) for cls in modules]


def _module(file: Path) -> ModuleType:
    """The module of a file: of seedbed's own folders by its name there, of others as a sweep file imports it."""
    root = Path(__file__).resolve().parents[3]
    # Links in a circle are left to who opens the file.
    path = Path(os.path.realpath(file))
    for package in ("pipeline", "analysis"):
        if path.suffix == ".py" and path.is_relative_to(root / package):
            return importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))
    return load(_entry(file))


def _entry(file: Path) -> str:
    """A file, or a module, as a sweep file imports it."""
    return resolved(str(file) if file.suffix == ".py" else file.name, Path.cwd())


def _holds(cls: type, contracts: Sequence[Contract], out: Console) -> bool:
    kind = kind_of(cls)
    named = "LightningModule" if kind is None else f"{KINDS_OF_CODE[kind].word} {vars(cls)['name']}"
    out.print(f"{named} (class {cls.__name__} of {cls.__module__})", style="bold")
    num_held, num_broken = 0, 0
    for contract in contracts:
        broken = list(contract.broken(cls))
        for line in _told(contract, broken):
            print_wrapped(out, line, style="red")
        num_held += len(contract.clauses()) - len(broken)
        num_broken += len(broken)
        if any(one.number is None for one in broken):
            return False
    if num_broken:
        out.print(f"  {num_broken} clause{'s are' if num_broken > 1 else ' is'} broken", style="red")
        return False
    out.print(f"  all {num_held} clauses hold")
    for line in price(cls, kind) if kind is not None else ():
        print_wrapped(out, f"  {line}")
    return True


def _told(contract: Contract, broken: Sequence[Broken]) -> Iterator[str]:
    """The broken clauses in words: number and sentence, then where and what was found."""
    of_runs = "of runs " if contract is RUN_CONTRACT else ""
    for clause in broken:
        case = f" ({clause.case})" if clause.case else ""
        if clause.number is None:
            yield f"  {clause.place}: it cannot be tried: {clause.told}"
        else:
            yield f"  clause {of_runs}{clause.number} is broken: {clause.sentence}"
            yield f"    {clause.place}: {clause.told}{case}"
