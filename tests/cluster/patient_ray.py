"""`ray start`, but for how long it waits for its own processes: half a minute, which a busy machine may exceed."""

from __future__ import annotations

import sys
import time
from typing import Any

from ray._private import services
from ray.scripts.scripts import main

_PATIENCE_S = 240.0
_get_node = services.get_node


def get_node(*given: Any, **named: Any) -> Any:
    """The node as Ray's control service knows it, asked for until it does."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return _get_node(*given, **named)
        except RuntimeError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


if __name__ == "__main__":
    services.get_node = get_node
    sys.exit(main())
