"""Self-populating registries: a new file in a package registers the one class that it defines.

So does a module of the user's own that was imported (`own_code`), or that an installed package offers as an entry
point: of the group `seedbed.tasks` for the registry of `pipeline.tasks`.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Generic, TypeVar

from pipeline.own_code.imported import modules, named_classes, plugins

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

    def _all(self) -> dict[str, type[T]]:
        """The classes of the package, of plug-ins and of what was imported. Raises ValueError if two share a name."""
        sources = (*plugins(f"seedbed.{self.package.rpartition('.')[2]}"), *modules())
        if not sources:
            return self._classes
        found = dict(self._classes)
        for source in sources:
            for cls in named_classes(source):
                name = cls.__dict__["name"]
                if not issubclass(cls, self.base_class) or found.get(name) is cls:
                    continue
                if name in found:
                    raise ValueError(
                        f"two classes are called {name!r}: {found[name].__qualname__} of {found[name].__module__} and "
                        f"{cls.__qualname__} of {source.__file__}; rename the latter"
                    )
                found[name] = cls
        return found

    def __getitem__(self, name: str) -> type[T]:
        found = self._all()
        if name not in found:
            raise KeyError(self.unknown(name))
        return found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._all()))

    def __len__(self) -> int:
        return len(self._all())

    def unknown(self, name: str) -> str:
        """Error message for an unknown name: the valid names, nearest first."""
        near = difflib.get_close_matches(name, self._all(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"unknown name {name!r}{hint} (known: {', '.join(self)})"
