"""Networks whose weights are written by hand or drawn at odd sizes, as readings are given them."""

from __future__ import annotations

import torch

from pipeline.contracts.tasks import streams_of, vectors_of
from pipeline.engine.parameter_layout import Layout, stream_names
from pipeline.models.attention_only import AttentionOnly
from pipeline.readings.base import Weights
from pipeline.tasks.dictionary_lookup import DictionaryLookup


def weights_of(task, model, seeds=(0,), num_items=32, parameters=None):
    """Weights of `model` at init under these seeds, or the given ones of a single run, with items of the task."""
    layout = Layout(model.parameter_specs(task.shape()), torch.float64)
    rows = [layout.initial_weights(dict.fromkeys(stream_names(layout.specs), seed), 1.0) for seed in seeds]
    views = layout.views(torch.stack(rows))
    for name, value in (parameters or {}).items():
        views[name].copy_(value)
    batch = task.sample(
        streams_of(task, (0,) * len(seeds), num_rows=num_items), vectors_of(task, len(seeds)), "float64", "probe"
    )
    return Weights(task, model.bind(task.shape()), views, batch)


def induction_network(strength=6.0):
    """Two heads that solve the dictionary lookup: previous tokens, then the label that follows the queried key.

    Dimensions of the stream: 8 tokens, 9 positions, 8 for the token before, 4 for the answer.
    """
    task = DictionaryLookup.tiny()
    model = AttentionOnly(width=29, head_width=9)
    token, place, before, answer = range(8), range(8, 17), range(17, 25), range(25, 29)
    zero = {spec.name: torch.zeros(spec.rows, spec.columns) for spec in model.parameter_specs(task.shape())}
    for i in range(8):
        zero["embedding"][i, token[i]] = 1
        zero["layer0.value"][token[i], i] = zero["layer0.output"][i, before[i]] = 1
        zero["layer1.query"][token[i], i] = zero["layer1.key"][before[i], i] = strength
    for i in range(9):
        zero["position"][i, place[i]] = 1
        zero["layer0.key"][place[i], i] = strength
    for i in range(1, 9):
        zero["layer0.query"][place[i], i - 1] = strength
    for i in range(4):
        # Labels are tokens 4 to 7.
        zero["layer1.value"][token[4 + i], i] = zero["layer1.output"][i, answer[i]] = 1
        zero["unembedding"][answer[i], i] = strength
    return weights_of(task, model, parameters=zero)
