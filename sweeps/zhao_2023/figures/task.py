"""Figure on Zhao (2023): the task that stands in for the report's, and the algorithm that two layers learn."""

from __future__ import annotations

from analysis.figures.style import Figure, captioned, finish
from analysis.figures.token_diagram import Arc, Token, token_diagram

_KEY, _VALUE, _QUERY, _FIRST, _SECOND = "key", "value", "query", "layer 1", "layer 2"
_COLOURS = {_KEY: "#D6EAF8", _VALUE: "#FDEBD0", _QUERY: "#D5F5E3", _FIRST: "#0072B2", _SECOND: "#D55E00"}
# Keys of one sequence, and the value that its hidden rule gives each.
_KEYS, _RULE, _ASKED = (3, 1, 5, 3, 2), {3: "d", 1: "a", 5: "d", 2: "g"}, 5


def dictionary_lookup_task() -> Figure:
    """One sequence, what attends to what, and the answer; nothing of it is measured."""
    title = "The task: after pairs of keys and values, give the value of the key that comes last"
    tokens = [token for key in _KEYS for token in (Token((str(key),), _KEY), Token((_RULE[key],), _VALUE))]
    last = len(tokens)
    tokens.append(Token((str(_ASKED),), _QUERY))
    arcs = [Arc(at, at - 1, _FIRST) for at in range(1, last, 2)]
    arcs += [Arc(last, 2 * n + 1, _SECOND, is_above=False) for n, key in enumerate(_KEYS) if key == _ASKED]
    parts = (
        f"Five pairs; the answer is {_RULE[_ASKED]}. Keys blue, values orange, the query green. A new rule from keys "
        "to values is drawn for every sequence, so none can be learned by heart. Layer 1 (arcs above): each value "
        "attends to the key before it. Layer 2 (arc below): the query attends to the value of the equal key.",
    )
    chart = finish(token_diagram(tokens, arcs, _COLOURS), title, captioned(parts, (), columns=90))
    return Figure("dictionary_lookup_task", title, "A sequence of keys and values, and what attends to what.", chart)
