"""Searchers of Ray Tune, by the names that sweep files use: asked for settings, and told what came of them."""

from __future__ import annotations

import importlib
import logging
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple, Protocol

from pipeline.imports import quick_imports
from pipeline.launch.bohb import BohbSearcher
from pipeline.spec.search import Search
from pipeline.spec.vary.factors import Choice, Distribution, LogUniform
from pipeline.store.pack_store import StoreError

# The metric that searchers are told.
OBJECTIVE = "objective"


class RaySearcher(Protocol):
    """What is used of `ray.tune.search.Searcher`. Results hold OBJECTIVE, and BY_SEEDS: seeds -> objective."""

    def suggest(self, trial_id: str) -> Any:
        """A setting as a mapping; None or text where there is none left."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The result of a setting, or that it has none."""


class SearchLibrary(NamedTuple):
    """Where Ray has a searcher, the argument that seeds it, and the packages that it needs."""

    module: str
    name: str
    seed: str
    packages: tuple[str, ...]


SEARCHERS = {
    "optuna": SearchLibrary("ray.tune.search.optuna", "OptunaSearch", "seed", ("optuna",)),
    "hyperopt": SearchLibrary("ray.tune.search.hyperopt", "HyperOptSearch", "random_state_seed", ("hyperopt",)),
    "bohb": SearchLibrary("ray.tune.search.bohb", "TuneBOHB", "seed", ("hpbandster", "ConfigSpace")),
}


def searcher_versions(search: Search) -> dict[str, str]:
    """The versions of Ray and of what the searcher needs. Raises StoreError, saying how to install it, without it."""
    found = {}
    for package in ("ray", *SEARCHERS[search.searcher].packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            extra = (
                "'seedbed[search]'" if search.searcher == "optuna" else " ".join(SEARCHERS[search.searcher].packages)
            )
            raise StoreError(
                f"search.searcher: {search.searcher} needs {package}, which is not installed; "
                f"`pip install {extra}` installs it"
            ) from None
    return found


def open_searcher(search: Search) -> RaySearcher:
    """A searcher for the space, which draws the same for the same seed and results, larger ones being better.

    It imports Ray, and starts none: where a launch through Ray follows, `pipeline.launch.ray_session.prepare` comes
    before.
    """
    library = SEARCHERS[search.searcher]
    with quick_imports():
        tune = importlib.import_module("ray.tune")
        found = getattr(importlib.import_module(library.module), library.name)(**{library.seed: search.seed})
    logging.getLogger("optuna").setLevel(logging.WARNING)
    is_bohb = search.searcher == "bohb"
    space = {path: _domain(tune, distribution, is_bohb) for path, distribution in search.space.items()}
    if not found.set_search_properties(OBJECTIVE, "max", space):
        raise StoreError(f"search.searcher: {search.searcher} takes no such space")
    searcher: RaySearcher = BohbSearcher(found, search.space, search.seed, OBJECTIVE) if is_bohb else found
    return searcher


def _domain(tune: Any, distribution: Distribution, by_number: bool) -> Any:
    """The distribution in Ray's terms; choices are the values, or their numbers."""
    if isinstance(distribution, Choice):
        return tune.choice(list(range(len(distribution.choice)) if by_number else distribution.choice))
    if isinstance(distribution, LogUniform):
        return tune.loguniform(*distribution.log_uniform)
    return tune.uniform(*distribution.uniform)
