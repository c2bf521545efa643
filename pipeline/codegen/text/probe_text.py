"""The text of a program's `Probe`: a whole forward pass with its attention maps, measured but not trained."""

from __future__ import annotations

from pipeline.codegen.graph.nodes import Dependence
from pipeline.codegen.passes.plan import Phase, ProgramPlan
from pipeline.codegen.text.emit import Emitter

# Without maps what a model predicts is all that there is to measure.
NO_MAPS = """
struct Probe : Model {
static constexpr int NUM_LAYERS = 0, NUM_HEADS = 0;
static constexpr int heads[] = {0};
static const Lanes* maps(const Tape&) { return nullptr; }
static const Lanes* entropies(const Tape&) { return nullptr; }
};
"""
# Maps that torch has to measure.
OTHER_MAPS = NO_MAPS.replace("NUM_LAYERS = 0", "NUM_LAYERS = -1")


class ProbeEmitter(Emitter):
    """Writes a plan whose ends are predictions, and `maps`: the first of the others, by layer (1, 1, H, L, L).

    Behind them are the entropies of each, (1, 1, H), or none.
    """

    def __init__(self, plan: ProgramPlan, num_maps: int, is_poisoned: bool = False) -> None:
        super().__init__(plan, is_poisoned, table="probe_table")
        self._maps, self._entropies = plan.gradients[:num_maps], plan.gradients[num_maps:]

    def text(self) -> str:
        """The structure `Probe`."""
        heads = [one.shape[2] for one in self._maps]
        num_cells, num_heads = sum(one.index.size for one in self._maps), sum(heads)
        begin, forward = self._phase(Phase.BEGIN), [*self._poison(), *self._phase(Phase.FORWARD)]
        forward += self._written("predictions", self._plan.predictions, Dependence.EXAMPLE, "=")
        for name, ends in (("shares", self._maps), ("by_head", self._entropies)):
            first = 0
            for one in ends:
                forward += self._written(f"(tape.{name} + {first})", one, Dependence.EXAMPLE, "=")
                first += one.index.size
        lines = [
            *self._tables.lines(),
            "struct Probe {",
            f"static constexpr int NUM_LAYERS = {len(heads)}, NUM_HEADS = {num_heads}, BLOCKS = 1;",
            f"static constexpr int heads[] = {{{', '.join(map(str, heads or [0]))}}};",
            "struct Tape {",
            f"  Lanes lanes[{max(1, self._plan.num_lanes)}];",
            f"  Lanes shares[{max(1, num_cells)}], by_head[{max(1, num_heads)}] = {{}};",
            f"  alignas(64) real scalars[{max(1, self._plan.num_scalars)}];",
            "};",
            "static const Lanes* maps(const Tape& tape) { return tape.shares; }",
            "static const Lanes* entropies(const Tape& tape) { return tape.by_head; }",
            "static void begin(const real* w, Tape& tape) {",
            *begin,
            "}",
            "static void forward(const real* w, const Task::Batch* batches, Tape& tape, Lanes* predictions) {",
            "const auto* inputs = whole(batches->tokens);",
            *forward,
            "}",
            "};",
            "",
        ]
        return "\n".join(lines)
