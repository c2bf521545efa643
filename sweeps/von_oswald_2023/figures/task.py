"""Figure on von Oswald et al. (2023): their task, and the gradient step that one layer can carry out."""

from __future__ import annotations

from analysis.figures.style import Figure, captioned, finish
from analysis.figures.token_diagram import Arc, Token, token_diagram

_PAIR, _QUERY, _ATTENTION = "pair", "query", "attention"
_COLOURS = {_PAIR: "#D6EAF8", _QUERY: "#D5F5E3", _ATTENTION: "#0072B2"}
_NUM_PAIRS = 10


def linear_regression_task() -> Figure:
    """One context, and what one layer of linear self-attention sums over; nothing of it is measured."""
    title = "The task: predict the target of a query from ten pairs of inputs and targets"
    tokens = [Token((f"x{n + 1}", f"y{n + 1}"), _PAIR) for n in range(_NUM_PAIRS)]
    tokens.append(Token(("xq", "0"), _QUERY))
    arcs = [Arc(_NUM_PAIRS, at, _ATTENTION) for at in range(_NUM_PAIRS)]
    parts = (
        "Targets are linear, y = W x, with a new W for every context. One step of gradient descent on the ten pairs, "
        "from weights of 0 and of size eta, predicts (eta / 10) times the sum of y_n (x_n' xq). Linear "
        "self-attention can write the same sum into the last token: x_n' xq is the attention score, y_n the value "
        "(arcs). The claim is that training finds these weights.",
    )
    chart = finish(token_diagram(tokens, arcs, _COLOURS), title, captioned(parts, (), columns=90))
    return Figure("linear_regression_task", title, "A context of pairs, and what the query sums over.", chart)
