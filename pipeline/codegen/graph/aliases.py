"""Which values of a trace share memory, so that an operation in place changes all of them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx

from pipeline.codegen.graph.nodes import Index
from pipeline.codegen.graph.operands import arguments_with

_aten = torch.ops.aten
# Operations whose results share memory with their first argument.
VIEWS = {
    _aten.alias.default,
    _aten.as_strided.default,
    _aten.diagonal.default,
    _aten.expand.default,
    _aten.permute.default,
    _aten.select.int,
    _aten.slice.Tensor,
    _aten.split_with_sizes.default,
    _aten.squeeze.dims,
    _aten.unfold.default,
    _aten.unsqueeze.default,
    _aten.view.default,
}


class Aliases:
    """For every value of a trace the value whose memory it shares, and where each of its numbers stands there."""

    def __init__(self) -> None:
        self._places: dict[fx.Node, tuple[fx.Node, Any]] = {}

    def add(self, node: fx.Node, size: tuple[int, ...] | None) -> None:
        """Note a result of `size`; a view is taken of the positions of its arguments, too."""
        source = node.args[0] if node.args else None
        if isinstance(source, fx.Node) and source in self._places and (node.target in VIEWS or _is_part(node)):
            root, places = self._places[source]
            if _is_part(node):
                self._places[node] = root, places[node.args[1]]
                return
            args, kwargs = arguments_with(node, lambda one: torch.from_numpy(self._places[one][1]))
            found = cast("Any", node.target)(*args, **kwargs)
            self._places[node] = root, list(map(_host, found)) if isinstance(found, tuple | list) else _host(found)
        elif size is not None:
            # A part of several results, or a result of its own.
            self._places[node] = node, np.arange(int(np.prod(size))).reshape(size)

    def root(self, node: fx.Node) -> fx.Node:
        """The value whose memory it shares."""
        return self._places[node][0]

    def same(self, node: fx.Node, as_node: fx.Node) -> None:
        """Note that a value is another one."""
        self._places[node] = self._places[as_node]

    def reshape(self, node: fx.Node, operation: Any) -> None:
        """Note that the first argument of `node` takes another shape, by `operation`."""
        source = node.args[0]
        assert isinstance(source, fx.Node)
        root, places = self._places[source]
        new = root, _host(operation(torch.from_numpy(places), *node.args[1:]))
        self._places[source] = self._places[node] = new

    def changed_with(self, node: fx.Node) -> list[tuple[fx.Node, Index]]:
        """Values that share memory with `node`: at each position which number of `node` it is, -1 where none."""
        root, changed = self._places[node]
        found = []
        for other, (its_root, places) in self._places.items():
            if its_root is root and not isinstance(places, list):
                which = np.full(1 + max(int(changed.max()), int(places.max())), -1, np.int64)
                which[changed.reshape(-1)] = np.arange(changed.size)
                found.append((other, which[places]))
        return found


def _is_part(node: fx.Node) -> bool:
    return getattr(node.target, "__name__", "") == "getitem"


def _host(positions: Tensor) -> Index:
    numbers: Index = positions.contiguous().numpy()
    return numbers
