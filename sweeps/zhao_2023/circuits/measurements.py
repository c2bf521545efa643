"""Circuits of the trained models of setting A: ablations, QK and OV matrices, and swaps between runs.

All runs answer the same sequences, of a stream that no training and no evaluation draws, in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch

from analysis.dynamics.circuits import (
    OneHeadDecoder,
    accuracy,
    affine_map,
    copying_share,
    matching_share,
    mean_ablated,
    previous_position_share,
    transplanted,
    with_maps_of,
)
from pipeline.arrays import Ints
from pipeline.numerics.streams import Draws, stream_key
from pipeline.spec.run_config import RunConfig
from pipeline.store.sweep_store import SweepStore
from pipeline.tasks.dictionary_lookup import DictionaryLookup
from sweeps.kept_weights import kept_weights
from sweeps.papers import MeasuredRow
from sweeps.zhao_2023.attention_maps.by_query import KEYS, QUERY, VALUES, positions
from sweeps.zhao_2023.circuits.evidence import ATTENTION_MAPS, STITCHED, TRANSPLANTED

NUM_SEQUENCES = 256
# Of a sweep's runs the first so many are put into one another.
NUM_PAIRED = 40


@dataclass(frozen=True)
class Sequences:
    """Tokens (B, L) and targets (B,), the value that the last key has."""

    tokens: Ints
    targets: Ints

    @classmethod
    def drawn(cls, task: DictionaryLookup, purpose: str, num: int = NUM_SEQUENCES) -> Sequences:
        """Sequences of a stream of this purpose, which nothing else reads."""
        streams = {
            name: Draws(torch.tensor([stream_key(f"{purpose}/{name}", 0)]), torch.zeros(1, dtype=torch.int64), num)
            for name in task.streams
        }
        batch = task.sample(streams, {}, "float64", "label")
        return cls(batch.inputs[0].numpy(), batch.targets[0].numpy())


def circuit_rows(store: SweepStore) -> Iterator[MeasuredRow]:
    """A row for each run at its last kept step.

    ablated_accuracy/layer1 and /layer2: accuracy with that head replaced by its mean over sequences;
    ablated_accuracy/values, /keys and /query: with that of layer 1 at these positions alone.
    qk_previous, qk_matching, ov_copying: what the weights' circuits say, see `analysis.dynamics.circuits`.
    attention_values_to_previous, attention_query_to_same_key: mean attention of layer 1.
    Of the first NUM_PAIRED runs, the accuracy with another run's layer-1 weights (TRANSPLANTED), with another run's
    layer 1 through a fitted affine map (STITCHED), and under another run's attention maps (ATTENTION_MAPS).
    """
    last: dict[str, tuple[RunConfig, int, OneHeadDecoder]] = {}
    for config, step, parameters in kept_weights(store):
        decoder = OneHeadDecoder.of({name: value.numpy() for name, value in parameters.items()})
        last[config.run_id] = (config, step, decoder)
    if not last:
        return
    task = cast(DictionaryLookup, next(iter(last.values()))[0].task)
    asked, fitted = (Sequences.drawn(task, purpose) for purpose in ("circuits", "stitching"))
    paired = {config.init_seed: decoder for config, _, decoder in list(last.values())[:NUM_PAIRED]}
    for config, step, decoder in last.values():
        found = of_one_run(decoder, task, asked)
        if config.init_seed in paired:
            found |= swaps(decoder, config.init_seed, paired, asked, fitted)
        yield {"run_id": config.run_id, "step": step} | found


def of_one_run(decoder: OneHeadDecoder, task: DictionaryLookup, asked: Sequences) -> dict[str, float]:
    """Everything that is measured on a run by itself."""
    tokens, targets = asked.tokens, asked.targets
    length = tokens.shape[1]
    found = {"circuit_accuracy": accuracy(decoder.answers(decoder.embed(tokens)), targets)}
    for layer in range(decoder.num_layers):
        found[f"ablated_accuracy/layer{layer + 1}"] = mean_ablated(decoder, tokens, targets, layer)
    for kind in (VALUES, KEYS, QUERY):
        found[f"ablated_accuracy/{kind}"] = mean_ablated(decoder, tokens, targets, 0, positions(kind, length))
    values = positions(VALUES, length)
    found["qk_previous"] = previous_position_share(decoder, tokens, values)
    found["qk_matching"] = matching_share(decoder, range(task.num_keys))
    found["ov_copying"] = copying_share(decoder, range(task.num_keys, task.num_keys + task.num_values))
    first_BLL = decoder.attention(0, decoder.embed(tokens))
    found["attention_values_to_previous"] = float(first_BLL[:, values, [at - 1 for at in values]].mean())
    is_same_BK = tokens[:, :-1] == tokens[:, -1:]
    found["attention_query_to_same_key"] = float((first_BLL[:, -1, :-1] * is_same_BK).sum(axis=1).mean())
    return found


def swaps(
    host: OneHeadDecoder, own_seed: int, donors: Mapping[int, OneHeadDecoder], asked: Sequences, fitted: Sequences
) -> dict[str, float]:
    """Accuracy of a run with parts of each other one, by the donor's init seed."""
    found: dict[str, float] = {}
    own_ND = host.states(fitted.tokens)[1].reshape(-1, host.embedding.shape[1])
    for seed, donor in donors.items():
        if seed == own_seed:
            continue
        found[f"{TRANSPLANTED}_accuracy/{seed}"] = transplanted(donor, host, asked.tokens, asked.targets)
        found[f"{ATTENTION_MAPS}_accuracy/{seed}"] = with_maps_of(donor, host, asked.tokens, asked.targets)
        theirs_ND = donor.states(fitted.tokens)[1].reshape(own_ND.shape)
        to_own = affine_map(theirs_ND, own_ND)
        stitched_BLD = donor.states(asked.tokens)[1] @ to_own[:-1] + to_own[-1]
        found[f"{STITCHED}_accuracy/{seed}"] = accuracy(host.answers(stitched_BLD, 1), asked.targets)
    return found
