"""Self-populating registries: a new file in a package registers the one class that it defines."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Mapping[str, type[T]], Generic[T]):
    """Name -> class, over every module of `package` but those in `helpers` and those with a leading underscore.

    Found on first use.

    A class registers when it is defined in such a module, derives from `base_class` and sets `name` itself.
    Raises ValueError when two files claim one name, or a file defines none.
    """

    def __init__(self, package: str, base_class: type[T], helpers: tuple[str, ...] = ("base",)) -> None:
        self.package, self.base_class, self.helpers = package, base_class, helpers

    @cached_property
    def _classes(self) -> dict[str, type[T]]:
        found: dict[str, type[T]] = {}
        for info in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
            if info.name in self.helpers or info.name.startswith("_"):
                continue
            module = importlib.import_module(f"{self.package}.{info.name}")
            own = [c for c in vars(module).values() if self._registers(c, module.__name__)]
            if not own:
                raise ValueError(f"{module.__name__} defines no {self.base_class.__name__} with a name of its own")
            for cls in own:
                name = cls.__dict__["name"]
                if name in found:
                    raise ValueError(f"{self.package}: two files define {name!r}")
                found[name] = cls
        return found

    def _registers(self, candidate: object, module: str) -> bool:
        return (
            isinstance(candidate, type)
            and issubclass(candidate, self.base_class)
            and candidate.__module__ == module
            and isinstance(candidate.__dict__.get("name"), str)
        )

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._classes:
            raise KeyError(self.unknown(name))
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._classes))

    def __len__(self) -> int:
        return len(self._classes)

    def unknown(self, name: str) -> str:
        """Error message for an unknown name: the valid names, nearest first."""
        near = difflib.get_close_matches(name, self._classes, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"unknown name {name!r}{hint} (known: {', '.join(self)})"
