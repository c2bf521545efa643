"""Figure on Huang, Cheng and Liang (2024): their task, and the attention that solves it."""

from __future__ import annotations

from analysis.figures.style import Figure, captioned, finish
from analysis.figures.token_diagram import Arc, Token, token_diagram

_DOMINANT, _RARE, _QUERY, _ATTENTION = "dominant", "rare", "query", "attention"
_COLOURS = {_DOMINANT: "#FDEBD0", _RARE: "#D6EAF8", _QUERY: "#D5F5E3", _ATTENTION: "#0072B2"}
# Features of one context; the first one is dominant.
_FEATURES, _ASKED = (1, 4, 1, 2, 1, 1, 3, 4, 1, 2), 4


def feature_regression_task() -> Figure:
    """One context, and what the query attends to once the task is learned; nothing of it is measured."""
    title = "The task: give the value of the query's feature, from a context of features with their values"
    tokens = [Token((f"v{k}", f"y{k}"), _DOMINANT if k == 1 else _RARE) for k in _FEATURES]
    tokens.append(Token((f"v{_ASKED}", "?"), _QUERY))
    arcs = [Arc(len(_FEATURES), at, _ATTENTION) for at, k in enumerate(_FEATURES) if k == _ASKED]
    parts = (
        f"The answer is y{_ASKED} = w'v{_ASKED}, with a new w for every context. Orange: the dominant feature, which "
        "half of all tokens have; blue: rare ones; green: the query. The prediction is the mean of the values, "
        "weighted by softmax attention. It is right once all attention is on tokens with the query's own feature "
        "(arcs): the share there is Attn_k.",
    )
    chart = finish(token_diagram(tokens, arcs, _COLOURS), title, captioned(parts, (), columns=90))
    return Figure("feature_regression_task", title, "A context of features, and what the query attends to.", chart)
