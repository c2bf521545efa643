"""Numbers of a decoder's circuits: norms, composition, contrasts of composed maps, and their diagonals.

Layers meet in the residual stream, so what layer 1's attention can find is decided by products such as
E OV0 QK1 E^T (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"). Each number is one of such a
product. Norms of products come from Gram matrices, ||A B||^2 = <A^T A, B B^T>, so that a single small product gives
those of all pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline.readings._cooccurrence import EVENLY, ITSELF, Cooccurrence
from pipeline.readings._factors import Factors, inner, pairs, product

# Entries of maps times weights that are formed at once.
_MOST_PRODUCTS = 2**22


class Family(NamedTuple):
    """Numbers of heads, or of pairs of heads, of the same layers: `values_SNW` (S, N, W), a name for each of W."""

    names: Sequence[str]
    values_SNW: Tensor


def decoder_numbers(factors: Factors, met: Sequence[Cooccurrence]) -> dict[str, Tensor]:
    """Name -> (S,): the largest over heads or pairs of heads, and `NAME.mean` where there is more than one.

    `met` is that of all slots, or one for each slot.
    """
    found: dict[str, Tensor] = {}
    carried = _carried(factors)
    parts = (_sizes(factors), _contrasts(factors, carried, met), _readouts(factors, carried, met))
    for names, values_SNW in (family for part in (*parts, _diagonals(factors, met)) for family in part):
        found |= dict(zip(names, values_SNW.amax(1).unbind(1), strict=True))
        if values_SNW.shape[1] > 1:
            found |= dict(zip((f"{name}.mean" for name in names), values_SNW.mean(1).unbind(1), strict=True))
    return found


def _sizes(factors: Factors) -> Iterator[Family]:
    """Norms of what writes to the stream and of what reads it, and log ||A B|| / (||A|| ||B||), the composition score,
    of each that writes and each that reads later.
    """
    writes, reads = _writing(factors), _reading(factors)
    written, read = (torch.cat([gram for _, gram in one.values()], 1) for one in (writes, reads))
    written_SN, read_SM = _trace(written), _trace(read)
    scores_SNM = (inner(written, read) / written_SN.unsqueeze(2) / read_SM.unsqueeze(1)).log() / 2
    log_scale_S1 = factors.scale_S.log().unsqueeze(1)
    for writer, (before, rows) in _places(writes).items():
        # What is divided by the scale of the stream has a size of its own beside it.
        own = log_scale_S1 if writer in factors.spans else 0.0
        yield Family((f"{writer}_norm",), (written_SN[:, rows].log() / 2 + own).unsqueeze(2))
        for reader, (layer, columns) in _places(reads).items():
            if before < layer:
                yield Family((f"{writer}_{reader}_composition",), scores_SNM[:, rows, columns].flatten(1).unsqueeze(2))
    for reader, (_, columns) in _places(reads).items():
        if not reader.startswith(("key", "value")):
            name = reader.replace("query", "qk")
            yield Family((f"{name}_norm",), (read_SM[:, columns].log() / 2).unsqueeze(2))


def _writing(factors: Factors) -> dict[str, tuple[int, Tensor]]:
    """Name -> the layer in which it writes, and A^T A (S, H, D, D); what stands there at first is of layer -1."""
    rows = {name: factors.sources[:, span] for name, span in factors.spans.items()}
    first = {name: (-1, product(own.transpose(1, 2), own).unsqueeze(1)) for name, own in rows.items()}
    grams = product(factors.ov.transpose(-1, -2), factors.ov)
    return first | {f"ov{layer}": (layer, gram) for layer, gram in enumerate(grams.unbind(1))}


def _reading(factors: Factors) -> dict[str, tuple[int, Tensor]]:
    """Name -> the layer in which it reads, and B B^T (S, H, D, D); the unembedding reads after all layers."""
    transposed = factors.qk.transpose(-1, -2)
    sides = {"query": (factors.qk, transposed), "key": (transposed, factors.qk)}
    sides["value"] = (factors.ov, factors.ov.transpose(-1, -2))
    grams = {name: product(*pair).unbind(1) for name, pair in sides.items()}
    found = {f"{name}{layer}": (layer, of[layer]) for layer in range(factors.qk.shape[1]) for name, of in grams.items()}
    unembedding = product(factors.unembedding, factors.unembedding.transpose(-1, -2))
    return found | {"unembedding": (factors.qk.shape[1], unembedding)}


def _places(parts: Mapping[str, tuple[int, Tensor]]) -> dict[str, tuple[int, slice]]:
    """Name -> its layer, and where its heads stand when all are put in a row."""
    spans = _spans({name: gram for name, (_, gram) in parts.items()})
    return {name: (layer, spans[name]) for name, (layer, _) in parts.items()}


def _carried(factors: Factors) -> list[Tensor]:
    """Per layer (S, H, V + L, D): what each head writes of a token or position, as a later layer norm passes it on."""
    num_layers, num_heads = factors.ov.shape[1:3]
    written = pairs(factors.sources.unsqueeze(1), factors.ov.flatten(1, 2)).squeeze(1)
    scaled = written / factors.scale_S.view(-1, 1, 1, 1)
    return list(scaled.view(-1, num_layers, num_heads, *scaled.shape[2:]).unbind(1))


def _contrasts(factors: Factors, carried: Sequence[Tensor], met: Sequence[Cooccurrence]) -> Iterator[Family]:
    """Mean logit at a skill's targets less that elsewhere: of tokens, of positions, and of what earlier heads moved."""
    streams = factors.sources.unsqueeze(1)
    for layer in range(len(carried)):
        asked = pairs(streams, factors.qk[:, layer]).squeeze(1)
        keys = {"": streams} | {f"ov{m}_": carried[m] for m in range(layer)}
        for of, held in keys.items():
            maps = pairs(asked, held.transpose(-1, -2)).flatten(1, 2)
            for (query, key), weights in _all(met, "attention").items():
                block = maps[:, :, factors.spans[query], factors.spans[key]].flatten(2)
                chosen = [name for name in weights[0] if ("_via_" in name) == bool(of)]
                yield from _weighed(f"qk{layer}_{query}_{of}{key}", block, weights, chosen)
            if not of:
                own = factors.spans["position"]
                previous = _previous(maps[:, :, own, own], factors.num_rows["position"])
                yield Family((f"qk{layer}_position_position_previous",), previous.unsqueeze(2))


def _previous(maps: Tensor, length: int) -> Tensor:
    """Mean logit one position back, less the mean over all earlier ones, (S, N); 0 for a single position."""
    below = maps.new_ones(length, length).tril(-1)
    near = below - below.tril(-2)
    weights = near / near.sum().clamp_min(1) - below / below.sum().clamp_min(1)
    return (maps[:, :, :length, :length] * weights).flatten(-2).sum(-1)


def _readouts(factors: Factors, carried: Sequence[Tensor], met: Sequence[Cooccurrence]) -> Iterator[Family]:
    """Mean logit of the right class less that of all, from tokens and positions: unmoved, moved once, moved twice."""
    moves = [EVENLY, *met[0].asking]
    twice = [f"{first}_{then}" for first in moves for then in moves]
    paths = {"": (factors.sources.unsqueeze(1), [ITSELF])}
    for layer, once in enumerate(carried):
        paths[f"ov{layer}_"] = (once, moves)
        for m in range(layer):
            paths[f"ov{m}_ov{layer}_"] = (pairs(carried[m], factors.ov[:, layer]).flatten(1, 2), twice)
    for name, (streams, chosen) in paths.items():
        maps = pairs(streams, factors.unembedding).flatten(1, 2)
        for source, weights in _all(met, "readout").items():
            block = maps[:, :, factors.spans[source]].flatten(2)
            yield from _weighed(f"{source}_{name}unembedding", block, weights, chosen)


def _all(met: Sequence[Cooccurrence], kind: str) -> dict[Any, list[Mapping[str, Tensor]]]:
    """The weights of every slot, by what they are weights of."""
    return {of: [getattr(one, kind)[of] for one in met] for of in getattr(met[0], kind)}


def _weighed(
    name: str, maps_SNE: Tensor, weights: Sequence[Mapping[str, Tensor]], chosen: Sequence[str]
) -> Iterator[Family]:
    """The sums over the entries of maps times each of the chosen weights."""
    step = max(1, _MOST_PRODUCTS // maps_SNE.numel())
    for first in range(0, len(chosen), step):
        some = chosen[first : first + step]
        weights_SWE = torch.stack([torch.stack([own[one] for one in some]).flatten(1) for own in weights])
        values = (maps_SNE.unsqueeze(2) * weights_SWE.unsqueeze(1)).sum(-1)
        yield Family([f"{name}_{one}" if one else name for one in some], values)


def _diagonals(factors: Factors, met: Sequence[Cooccurrence]) -> Iterator[Family]:
    """Of logits x_i M x_j^T among tokens or positions x: diagonal less overall mean, and how much they vary.

    Over rows x with shares w and covariance G, the diagonal less the overall mean is tr(M G): the sum of the
    eigenvalues of the map centred by w. `_diagonal` is that sum, `_norm` the log of ||M G||, `_trace` their ratio.
    Of what a matrix M reads out of x, `_norm` is the log of the root of tr(M^T G M), the variance of its logits.
    """
    covariances = _covariances(factors, met)
    of, gram = list(covariances), torch.stack(list(covariances.values()), 1)
    maps, paths = dict(_bilinear(factors)), dict(_paths_to_classes(factors))
    heads = torch.cat(list(maps.values()), 1)
    transposed = heads.transpose(-1, -2)
    sums = inner(transposed, gram)
    norms = inner(product(transposed, heads), product(gram, gram)).sqrt()
    kinds = {"diagonal": sums, "norm": norms.log(), "trace": sums / norms}
    for name, place in _spans(maps).items():
        for kind, values in kinds.items():
            yield Family([f"{name}_{rows}_{kind}" for rows in of], values[:, place])
    spread = inner(torch.cat([product(path, path.transpose(-1, -2)) for path in paths.values()], 1), gram).log() / 2
    for name, place in _spans(paths).items():
        yield Family([f"{rows}_{name}_norm" for rows in of], spread[:, place])


def _spans(parts: Mapping[str, Tensor]) -> dict[str, slice]:
    """Name -> where its heads stand when all (S, H, ...) are put in a row."""
    ends = list(accumulate((part.shape[1] for part in parts.values()), initial=0))
    return {name: slice(*span) for name, span in zip(parts, pairwise(ends), strict=True)}


def _bilinear(factors: Factors) -> Iterator[tuple[str, Tensor]]:
    """M (S, N, D, D) of every layer's logits: from what stands there, and from what an earlier head wrote there."""
    for layer, qk in enumerate(factors.qk.unbind(1)):
        yield f"qk{layer}", qk
        for m, ov in enumerate(factors.ov[:, :layer].unbind(1)):
            keys = pairs(qk, ov.transpose(-1, -2)).flatten(1, 2)
            yield f"qk{layer}_key_ov{m}", keys
            yield f"qk{layer}_both_ov{m}", pairs(ov, keys).flatten(1, 2)


def _paths_to_classes(factors: Factors) -> Iterator[tuple[str, Tensor]]:
    """Matrices (S, N, D, C) from the stream to logits of classes: through no head, through one, through two."""
    yield "unembedding", factors.unembedding
    for layer, ov in enumerate(factors.ov.unbind(1)):
        once = pairs(ov, factors.unembedding).flatten(1, 2)
        yield f"ov{layer}_unembedding", once
        for m, before in enumerate(factors.ov[:, :layer].unbind(1)):
            yield f"ov{m}_ov{layer}_unembedding", pairs(before, once).flatten(1, 2)


def _covariances(factors: Factors, met: Sequence[Cooccurrence]) -> dict[str, Tensor]:
    """(S, D, D) of embeddings, over all tokens and over those that ask for each skill, and of positions."""
    rows = {name: factors.sources[:, span] for name, span in factors.spans.items()}
    even = {name: own.new_full((1, factors.num_rows[name]), 1 / factors.num_rows[name]) for name, own in rows.items()}
    found = {name: _covariance(own, even[name]) for name, own in rows.items()}
    for skill in met[0].asking:
        shares = torch.stack([one.asking[skill] for one in met])
        found[f"embedding_{skill}"] = _covariance(rows["embedding"], shares)
    return found


def _covariance(rows: Tensor, shares_SV: Tensor) -> Tensor:
    weights = torch.nn.functional.pad(shares_SV, (0, rows.shape[1] - shares_SV.shape[1])).unsqueeze(2)
    spread = (rows - (rows * weights).sum(1, keepdim=True)) * weights.sqrt()
    return product(spread.transpose(1, 2), spread)


def _trace(matrices: Tensor) -> Tensor:
    return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)
