"""Which nodes of a cluster can compute which packs: what each node lacks, and which packs it sent back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.planning.packs import Pack
from pipeline.training.abilities import Abilities


class Placement:
    """The packs of a launch against the nodes of a cluster, by node id.

    A node of which nothing is known may be tried. One on which a pack turned out to compute other bits is not tried
    with it again, nor are others of its kind, so that every pack is tried at most once on a kind of machine.
    """

    def __init__(self, packs: Iterable[Pack]) -> None:
        self.packs = {pack.pack_id: pack for pack in packs}
        self.nodes: dict[str, Abilities] = {}
        self._sent_back: dict[str, dict[str | Abilities, str]] = {pack_id: {} for pack_id in self.packs}
        self._given_up: dict[str, str] = {}

    def add_nodes(self, nodes: Mapping[str, Abilities]) -> None:
        """Take in what was found on these nodes."""
        self.nodes |= nodes

    def send_back(self, pack_id: str, node_id: str, reason: str) -> None:
        """A node, tried, could not compute a pack, for this reason.

        A second time from one node, where it was barred, means that packs cannot be kept from it: then all are barred.
        """
        if node_id in self._sent_back[pack_id]:
            self._given_up[pack_id] = reason
        self._sent_back[pack_id][node_id] = reason
        if node_id in self.nodes:
            self._sent_back[pack_id][self.nodes[node_id]] = reason

    def barred(self, pack_id: str, alive: Iterable[str]) -> dict[str, str]:
        """Those of the nodes `alive` that cannot compute a pack -> the reason, as a clause."""
        found: dict[str, str] = {}
        sent_back, numerics = self._sent_back[pack_id], self.packs[pack_id].numerics
        for node_id in alive:
            abilities = self.nodes.get(node_id)
            lack = None if abilities is None else abilities.lacks(numerics)
            kind = node_id if abilities is None else abilities
            if reason := self._given_up.get(pack_id) or sent_back.get(node_id) or sent_back.get(kind):
                found[node_id] = reason
            elif lack is not None:
                found[node_id] = f"planned for {lack}"
        return found

    def idle(self, alive: Iterable[str]) -> dict[str, str]:
        """Those of the nodes `alive` that can compute no pack at all -> the reason for the first, as a clause."""
        nodes = list(alive)
        barred = [self.barred(pack_id, nodes) for pack_id in self.packs]
        return {node: barred[0][node] for node in nodes if barred and all(node in reasons for reasons in barred)}
