"""What computed the commits of a sweep, and the refusal to go on with anything else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.training.abilities import NotHereError
from pipeline.training.recorder import Origin
from pipeline.training.sources import source_hashes, sources_digest


def launch_note(spec: SweepSpec, runs: Iterable[RunConfig], accepts_changed_code: bool) -> dict[str, Any]:
    """What the sweep document notes of a launch: the source files that compute its runs, and what it accepts."""
    accepted = {"accepts_changed_code": True} if accepts_changed_code else {}
    return {"code": source_hashes(spec, runs), **accepted}


def refuse_changed_code(store: SweepStore, pack_ids: Iterable[str], sources: str) -> None:
    """Raises StoreError where the newest launch, or a pack of these, was computed by other sources than `sources`.

    A launch may accept what other sources computed before, but all of its own processes must have the same.
    """
    launched = store.sweep["launches"][-1].get("code")
    if launched is not None and sources_digest(launched) != sources:
        raise StoreError(f"{store.folder}: this process has other code than the launch that it belongs to")
    if store.accepts_changed_code:
        return
    for pack_id in pack_ids:
        record = next(iter(store.pack(pack_id).records()), None)
        if record is not None and record.sources and record.sources != sources:
            changed = changed_files(store, record.sources)
            raise StoreError(
                f"{store.folder}: pack {pack_id} was computed by other code ({changed}): go on with that code, or "
                "accept that bits may differ with `seedbed resume --accept-changed-code`, which marks the runs"
            )


def refuse_other_bits(store: SweepStore, pack_id: str, origin: Origin) -> None:
    """Raises NotHereError where the arithmetic of the pack's newest record gave other bits than that of `origin`."""
    record = next(iter(store.pack(pack_id).records()), None)
    if record is None or not record.answer or record.answer == origin.answer:
        return
    # Other code may compute other bits, which the newest launch has then accepted.
    if record.sources != origin.sources and store.accepts_changed_code:
        return
    raise NotHereError(
        pack_id,
        f"begun on a processor ({record.processor or 'unknown'}) that computes other bits than this one "
        f"({origin.processor or 'unknown'}): go on there",
    )


def changed_files(store: SweepStore, before: str) -> str:
    """Which files differ between the launch whose sources have the digest `before` and the newest, in words."""
    launches = store.sweep["launches"]
    now = launches[-1].get("code", {})
    then = next((one["code"] for one in launches if sources_digest(one.get("code", {})) == before), None)
    if then is None or then == now:
        return "which files differ is not known"
    names = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
