"""Circuits of decoders: on a model built by hand whose every answer is known, and against the torch model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
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
from pipeline.models.attention_only import AttentionOnly
from pipeline.tasks.dictionary_lookup import DictionaryLookup

K, V, N = 5, 5, 4
LENGTH = 2 * N + 1
VALUES, KEYS, QUERY = list(range(1, LENGTH, 2)), list(range(2, LENGTH - 1, 2)), [LENGTH - 1]
# The residual stream: tokens, positions, and the token of the position before.
WIDTH = K + V + LENGTH + K
SHARP = 400.0


def built(shift=1, copied=None):
    """Looks `shift` positions back in layer 1, for values alone; matches keys and copies values in layer 2."""
    copied = np.arange(V) if copied is None else copied
    tokens, places = np.eye(WIDTH)[: K + V], np.eye(WIDTH)[K + V : K + V + LENGTH]
    before = np.eye(WIDTH)[-K:]
    wide = max(LENGTH, K, V)
    query, key, value, output = (np.zeros((2, *shape)) for shape in [(WIDTH, wide)] * 3 + [(wide, WIDTH)])
    for at in range(LENGTH):
        # Keys and the query look at themselves.
        query[0] += SHARP * np.outer(places[at], np.eye(wide)[max(0, at - shift) if at in VALUES else at])
        key[0] += np.outer(places[at], np.eye(wide)[at])
    for k in range(K):
        value[0] += np.outer(tokens[k], np.eye(wide)[k])
        output[0] += np.outer(np.eye(wide)[k], before[k])
        query[1] += SHARP * np.outer(tokens[k], np.eye(wide)[k])
        key[1] += np.outer(before[k], np.eye(wide)[k])
    # Only values carry the token before them to the query: keys, which carry themselves, are marked down.
    key[1][:K] -= 2 * np.ones((K, wide))
    for v in range(V):
        value[1] += np.outer(tokens[K + v], np.eye(wide)[v])
        output[1] += 10 * np.outer(np.eye(wide)[v], tokens[K + copied[v]])
    unembedding = np.zeros((WIDTH, V))
    unembedding[K : K + V] = np.eye(V)
    return OneHeadDecoder(tokens, places, *(tuple(each) for each in (query, key, value, output)), unembedding)


def renamed(decoder, seed):
    """The same function with the width's axes in another order, which a norm does not see."""
    order = np.random.default_rng(seed).permutation(WIDTH)
    return OneHeadDecoder(
        decoder.embedding[:, order],
        decoder.position[:, order],
        *(tuple(each[order] for each in matrices) for matrices in (decoder.query, decoder.key, decoder.value)),
        tuple(each[:, order] for each in decoder.output),
        decoder.unembedding[order],
    )


@pytest.fixture(scope="module")
def asked():
    rng = np.random.default_rng(0)
    keys, maps = rng.integers(K, size=(200, N)), rng.integers(V, size=(200, K))
    chosen = keys[np.arange(200), rng.integers(N, size=200)]
    tokens = np.empty((200, LENGTH), dtype=np.int64)
    tokens[:, :-1:2], tokens[:, 1::2] = keys, K + np.take_along_axis(maps, keys, axis=1)
    tokens[:, -1] = chosen
    return tokens, maps[np.arange(200), chosen]


def right(decoder, asked):
    return accuracy(decoder.answers(decoder.embed(asked[0])), asked[1])


def test_a_model_built_by_hand_has_the_circuits_that_were_built_into_it(asked):
    model = built()
    assert right(model, asked) == 1
    assert previous_position_share(model, asked[0], VALUES) == 1
    assert matching_share(model, range(K)) == 1
    assert copying_share(model, range(K, K + V)) == 1


def test_each_circuit_is_told_apart_from_one_that_does_something_else(asked):
    assert previous_position_share(built(shift=0), asked[0], VALUES) == 0
    assert copying_share(built(copied=np.array([1, 0, 2, 3, 4])), range(K, K + V)) == pytest.approx(3 / 5)
    model = built()
    swapped = model.value[0].copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert matching_share(replace(model, value=(swapped, model.value[1])), range(K)) == pytest.approx(3 / 5)


def test_ablation_costs_what_the_head_says_of_the_example_and_nothing_where_it_says_nothing(asked):
    model = built()
    assert mean_ablated(model, *asked, layer=0, positions=VALUES) < 0.6
    assert mean_ablated(model, *asked, layer=0, positions=QUERY) == 1
    assert mean_ablated(model, *asked, layer=1) < 0.5
    # A head that moves positions adds the same in every example, and is replaced by just that.
    places = sum(np.outer(model.position[at], np.eye(model.value[0].shape[1])[at % K]) for at in range(LENGTH))
    constant = replace(model, value=(places, model.value[1]))
    silent = replace(model, value=(0 * places, model.value[1]))
    assert right(constant, asked) != right(silent, asked)
    assert mean_ablated(constant, *asked, layer=0) == right(constant, asked)


def test_another_basis_makes_weights_useless_to_others_and_leaves_maps_and_what_is_linear_exchangeable(asked):
    host, donor = built(), renamed(built(), 1)
    assert right(donor, asked) == 1
    assert transplanted(host, host, *asked) == 1
    assert transplanted(donor, host, *asked) < 0.6
    # What a layer moves belongs to its weights, and not where it attends alone.
    silent = replace(host, output=(np.zeros_like(host.output[0]), host.output[1]))
    assert transplanted(silent, host, *asked) < 0.6
    assert with_maps_of(donor, host, *asked) == 1
    theirs, own = (model.states(asked[0])[1].reshape(-1, WIDTH) for model in (donor, host))
    to_own = affine_map(theirs, own)
    stitched = donor.states(asked[0])[1] @ to_own[:-1] + to_own[-1]
    assert accuracy(host.answers(stitched, 1), asked[1]) == 1


def test_maps_of_a_model_that_attends_elsewhere_do_not_serve(asked):
    assert with_maps_of(built(shift=0), built(), *asked) < 0.6


def test_maps_and_answers_are_those_of_the_torch_model():
    task, model = DictionaryLookup(num_keys=K, num_values=V, num_pairs=N), AttentionOnly(width=12, head_width=3)
    rng = np.random.default_rng(2)
    specs = model.parameter_specs(task.shape())
    parameters = {spec.name: rng.normal(size=(spec.rows, spec.columns)) for spec in specs}
    tokens = rng.integers(K + V, size=(7, LENGTH))
    decoder = OneHeadDecoder.of(parameters)
    tensors = {name: torch.from_numpy(value).unsqueeze(0) for name, value in parameters.items()}
    output = model.bind(task.shape()).forward(tensors, torch.from_numpy(tokens).unsqueeze(0), with_attention=True)
    for found, expected in zip(decoder.maps(tokens), output.attention, strict=True):
        np.testing.assert_allclose(found, expected[0, :, 0].numpy(), atol=1e-12)
    expected = output.predictions[0].argmax(-1).numpy()
    assert decoder.answers(decoder.embed(tokens)).tolist() == expected.tolist()
