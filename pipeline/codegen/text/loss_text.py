"""The text of a program's `Task`: its losses with their slopes, what is right, and perhaps how examples are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.codegen.graph.nodes import Dependence, Operand
from pipeline.codegen.passes.plan import Phase, ProgramPlan
from pipeline.codegen.text.emit import Emitter
from pipeline.tasks.base import TaskShape

REFERENCE = "reference_loss"
# 64 kB of vectors of 512 bits: stacks of threads have some megabytes.
_MOST_LOCAL = 1024
_TYPES = {True: ("std::int64_t", "Ints"), False: ("real", "Lanes")}


class QuestionEmitter(Emitter):
    """Writes one number of a question, from its predictions and target, and its slopes if the plan has them.

    What it keeps is a variable of the function where an example has at most `most_local` numbers, else of the thread.
    """

    def __init__(
        self, plan: ProgramPlan, name: str, is_poisoned: bool = False, most_local: float = _MOST_LOCAL
    ) -> None:
        super().__init__(plan, is_poisoned, table=f"{name}_table")
        self.name = name
        self._is_local = plan.num_lanes <= most_local
        self._outputs = ("answer", "by_predictions")

    def memory(self) -> list[str]:
        """What stands outside the function, for each program its own; to be called after `lines`."""
        own = [] if self._is_local else ["namespace {", f"thread_local {self._memory_type()} {self.name}_tape;", "}"]
        return [*self._tables.lines(), *own]

    def _memory_type(self) -> str:
        lanes, scalars = (max(1, size) for size in (self._plan.num_lanes, self._plan.num_scalars))
        return f"struct {{ Lanes lanes[{lanes}]; real scalars[{scalars}]; }}"

    def _declared_memory(self) -> str:
        """The function's line that names its memory."""
        return f"{self._memory_type()} tape;" if self._is_local else f"auto& tape = {self.name}_tape;"

    def _given(self, name: str, operand: Operand) -> list[str]:
        """What the function gives, where it does not stand there yet."""
        is_there = id(operand.node) in self._plan.homes and self._name(operand.node) == name
        return [] if is_there else self._written(name, operand, Dependence.EXAMPLE, "=")

    def lines(self) -> list[str]:
        """The function."""
        backward = self._phase(Phase.BACKWARD)
        for slopes in self._plan.gradients:
            backward += self._given("by_predictions", slopes)
        has_slopes = bool(self._plan.gradients)
        last = ", Lanes* by_predictions" if has_slopes else ""
        head = f"Lanes {self.name}(const Lanes* predictions, const Batch& batch, int target{last})"
        own = ["if (by_predictions) {", *backward, "}"] if has_slopes else []
        return self._function(
            head,
            ["const auto* targets = batch.targets + target;", "Lanes answer[1];"],
            {"answer": self._plan.predictions},
            [*own, "return answer[0];"],
        )

    def _function(
        self, head: str, given: Sequence[str], outputs: Mapping[str, Operand], last: Sequence[str] = ()
    ) -> list[str]:
        """A function that computes the outputs between lines of what it is given and the `last` ones."""
        return [
            f"static {head} {{",
            self._declared_memory(),
            *given,
            *self._poison(),
            *self._phase(Phase.BEGIN),
            *self._phase(Phase.FORWARD),
            *(line for name, operand in outputs.items() for line in self._given(name, operand)),
            *last,
            "}",
        ]


def task_text(
    task_shape: TaskShape,
    has_classes: bool,
    functions: Sequence[QuestionEmitter],
    sampling: Sequence[QuestionEmitter] = (),
    choice: Sequence[str] = (),
) -> str:
    """The structure `Task`: its targets are classes or real values; `functions` are "loss" and perhaps "correct".

    `sampling` draws its examples, where torch does not, of all splits alike or of one that `choice` chooses, and gives
    their reference losses, where there are any.
    """
    is_token = task_shape.kind == "tokens"
    written = [(function, function.lines()) for function in (*functions, *sampling)]
    bodies = [line for _, lines in written for line in lines]
    memory = [line for function, _ in written for line in function.memory()]
    has_reference = any(function.name == REFERENCE for function, _ in written)
    (token, tokens), (target, targets) = _TYPES[is_token], _TYPES[has_classes]
    size = task_shape.size if is_token else task_shape.input_shape[1]
    lines = [
        "#pragma once",
        "",
        '#include "functions.h"',
        '#include "products.h"',
        *(['#include "draws.h"'] if sampling else []),
        *memory,
        "struct Task {",
        f"static constexpr int LENGTH = {task_shape.length}, SIZE = {size};",
        f"static constexpr int OUTPUTS = {task_shape.num_outputs}, TARGETS = {task_shape.num_query_positions};",
        f"static constexpr int NUM_INPUTS = {'LENGTH' if is_token else 'LENGTH * SIZE'};",
        f"static constexpr bool HAS_ACCURACY = {str(len(functions) > 1).lower()};",
        f"static constexpr bool HAS_REFERENCE = {str(has_reference).lower()};",
        f"using Token = {token};",
        f"using Target = {target};",
        f"struct Batch {{ {tokens} tokens[LENGTH]{'' if is_token else '[SIZE]'}; {targets} targets[TARGETS]; }};",
        *bodies,
        *choice,
    ]
    if len(functions) == 1:
        lines.append("static Lanes correct(const Lanes*, const Batch&, int) { return Lanes{}; }")
    if not has_reference:
        lines.append("static Lanes reference_loss(const Batch&) { return Lanes{}; }")
    return "\n".join([*lines, "};", ""])
