"""The sweeps of factorials in other settings: pairs of ordinary parents in each, under two data streams.

Models of two layers have five groups of matrices, as the factorials of setting A have when groups of theirs are taken
together; so shares by order can be compared, which depend on the number of factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.spec.criterion import Criterion
from sweeps.landscape.parent_pair import ParentPair
from sweeps.papers import PaperSweep

Groups = Mapping[str, tuple[str, ...]]

_TWO_LAYERS = {
    "embedding, position": ("embedding", "position"),
    "QK, layer 1": ("layer0.query", "layer0.key"),
    "VO, layer 1": ("layer0.value", "layer0.output"),
    "QK, layer 2": ("layer1.query", "layer1.key"),
    "VO, layer 2, unembedding": ("layer1.value", "layer1.output", "unembedding"),
}
_ONE_LAYER = {
    "embedding": ("embedding",),
    "position": ("position",),
    "QK": ("layer0.query", "layer0.key"),
    "VO": ("layer0.value", "layer0.output"),
    "unembedding": ("unembedding",),
}
_LINEAR = {name: (f"layer0.{name}",) for name in ("query", "key", "value", "projection")}
# The five groups as sets of the seven in which setting A's matrices are exchanged, by their numbers there.
OF_SEVEN = ((0, 1), (2,), (3,), (4,), (5, 6))
_ACCURACY = Criterion("label_accuracy", at_least=0.99, evaluations=3)
# The same streak of 100 steps, of evaluations every 25.
_ACCURACY_25 = Criterion("label_accuracy", at_least=0.99, evaluations=5)
_EXCESS_25 = Criterion("label_excess", at_most=0.1, evaluations=5)
_FIRST_SEED, _NUM_FIRST = 40, 4


@dataclass(frozen=True)
class OtherSetting:
    """A setting: the name of its sweep file and what it is called, its groups, and when a run has converged.

    It has `num_later` pairs of parents beside the first ones, and their number was chosen by what those showed.
    """

    name: str
    label: str
    groups: Groups
    criterion: Criterion = _ACCURACY
    num_later: int = 0

    @property
    def pairs(self) -> tuple[ParentPair, ...]:
        """The parents: init seeds in order, which nothing was known about."""
        numbers = range(_NUM_FIRST + self.num_later)
        seeds = [_FIRST_SEED + 2 * p for p in numbers]
        return tuple(ParentPair(f"{self.name}_{p + 1}", seeds[p], seeds[p] + 1) for p in numbers)

    @property
    def judged_pairs(self) -> tuple[ParentPair, ...]:
        """Those that claims are judged by: the later ones where there are any."""
        return self.pairs[_NUM_FIRST:] if self.num_later else self.pairs

    @property
    def sweeps(self) -> tuple[PaperSweep, ...]:
        """A factorial for each pair."""
        file, factors = f"landscape/settings/{self.name}.yaml", tuple(self.groups.values())
        of_pairs = [(pair.name, pair.overrides(factors)) for pair in self.pairs]
        return tuple(PaperSweep(name, file, None, overrides) for name, overrides in of_pairs)

    @property
    def num_judged_runs(self) -> int:
        """Of all pairs together that claims are judged by."""
        return 2 * len(self.judged_pairs) * (1 << len(self.groups))


OTHER_SETTINGS = (
    OtherSetting("setting_b", "B: larger dictionary", _TWO_LAYERS, num_later=12),
    OtherSetting("setting_c", "C: heads of width 2", _TWO_LAYERS, num_later=24),
    OtherSetting("pair_tokens", "pair tokens, one layer", _ONE_LAYER, _ACCURACY_25, num_later=20),
    OtherSetting("lsa", "linear self-attention", _LINEAR, _EXCESS_25),
)
SETTING_SWEEPS = tuple(sweep for setting in OTHER_SETTINGS for sweep in setting.sweeps)
