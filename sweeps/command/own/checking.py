"""`seedbed check`: holds the classes of files of one's own to the contracts of their kinds, and says what they cost."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from rich.console import Console

from analysis.contracts.predictors import PREDICTOR_CONTRACT
from analysis.contracts.statistics import STATISTIC_CONTRACT
from pipeline.contracts.contract import Broken, Contract
from pipeline.contracts.models import MODEL_CONTRACT
from pipeline.contracts.optimisers import OPTIMISER_CONTRACT
from pipeline.contracts.readings import READING_CONTRACT
from pipeline.contracts.runs import RUN_CONTRACT
from pipeline.contracts.schedules import SCHEDULE_CONTRACT
from pipeline.contracts.stopping_rules import STOPPING_CONTRACT
from pipeline.contracts.tasks import TASK_CONTRACT
from pipeline.own_code.imported import OwnCodeError, load, named_classes, resolved
from pipeline.store.pack_store import StoreError
from sweeps.command.exit_codes import COMPLETE, FAILED
from sweeps.command.own.consent import keep_allowed
from sweeps.command.own.kinds import KINDS_OF_CODE, kind_of
from sweeps.command.own.pricing import price
from sweeps.command.terminal.wrapped import print_wrapped

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

    Raises StoreError for a file that cannot be imported, or that defines no class of any kind.
    """
    classes = [cls for file in files for cls in _classes(file)]
    keep_allowed()
    return FAILED if [cls for cls in classes if not _holds(cls, out)] else COMPLETE


def _classes(file: Path) -> list[type]:
    try:
        module = _module(file)
    except (OwnCodeError, OSError) as error:
        raise StoreError(str(error)) from None
    found = [cls for cls in dict.fromkeys(named_classes(module)) if kind_of(cls) is not None]
    if not found:
        kinds = ", ".join(kind.word for kind in KINDS_OF_CODE.values())
        raise StoreError(f"{file}: defines no class with a `name` that is a {kinds}")
    for cls in found:
        # Two classes of one name are refused.
        KINDS_OF_CODE[kind_of(cls) or ""].classes.get(vars(cls)["name"])
    return found


def _module(file: Path) -> ModuleType:
    """The module of a file: of seedbed's own folders by its name there, of others as a sweep file imports it."""
    root = Path(__file__).resolve().parents[3]
    path = file.resolve()
    for package in ("pipeline", "analysis"):
        if path.suffix == ".py" and path.is_relative_to(root / package):
            return importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))
    return load(resolved(str(file) if file.suffix == ".py" else file.name, Path.cwd()))


def _holds(cls: type, out: Console) -> bool:
    kind = kind_of(cls)
    assert kind is not None
    out.print(
        f"{KINDS_OF_CODE[kind].word} {vars(cls)['name']} (class {cls.__name__} of {cls.__module__})", style="bold"
    )
    num_held, num_broken = 0, 0
    for contract in CONTRACTS[kind]:
        broken = list(contract.broken(cls))
        for line in _told(contract, broken):
            print_wrapped(out, line, style="red")
        num_held += len(contract.clauses()) - len(broken)
        num_broken += len(broken)
    if num_broken:
        out.print(f"  {num_broken} clauses are broken", style="red")
        return False
    out.print(f"  all {num_held} clauses hold")
    for line in price(cls, kind):
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
