"""The pulse of a worker: a count that grows with whatever it gets done, in memory that another process can read."""

from __future__ import annotations

import mmap
import struct
import tempfile
from types import TracebackType

_COUNT = struct.Struct("=Q")


class HangError(BaseException):
    """A worker got nothing done for too long, and was interrupted; the message says where it was.

    Like KeyboardInterrupt it is no Exception, so that no run is blamed for it, and code that it interrupts does not
    catch it by mistake.
    """


class Pulse:
    """Counts what a worker gets done: 1 when its pack is open, 1 more for all that it trains, measures or commits.

    The count stands in the first eight bytes of the file `descriptor`, in the machine's order of bytes.
    """

    def __init__(self) -> None:
        # Closed on leaving the context.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._file.truncate(_COUNT.size)
        self._memory = mmap.mmap(self.descriptor, _COUNT.size)

    @property
    def descriptor(self) -> int:
        """Of the file that holds the count."""
        return self._file.fileno()

    @property
    def count(self) -> int:
        """What was done so far."""
        return int(_COUNT.unpack(self._memory[:])[0])

    def beat(self) -> None:
        """Something was done."""
        self._memory[:] = _COUNT.pack(self.count + 1)

    def __enter__(self) -> Pulse:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._memory.close()
        self._file.close()
