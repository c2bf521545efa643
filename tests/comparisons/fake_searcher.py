"""A searcher with the interface of Ray Tune's, which draws near the best setting that it was told of."""

from __future__ import annotations

import random


class FakeSearcher:
    """Draws from the space by its seed; after a few results, closer and closer to the best of them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.asked: dict[str, dict] = {}
        self.told: list[tuple[str, dict | None, bool]] = []

    def set_search_properties(self, metric, mode, config):
        self._space, self._metric = config, metric
        assert mode == "max"
        return True

    def suggest(self, trial_id):
        chance = random.Random(f"{self._seed} {trial_id} {self.told}")
        best = max((result[self._metric], name) for name, result, _ in self.told if result)[1] if any(
            result for _, result, _ in self.told
        ) else None  # fmt: skip
        self.asked[trial_id] = {path: self._draw(path, domain, chance, best) for path, domain in self._space.items()}
        return dict(self.asked[trial_id])

    def _draw(self, path, domain, chance, best):
        if hasattr(domain, "categories"):
            return chance.choice(domain.categories)
        centre = None if best is None else self.asked[best][path]
        value = chance.uniform(domain.lower, domain.upper)
        return value if centre is None else centre + (value - centre) / 10

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.told.append((trial_id, result, error))
