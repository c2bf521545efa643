"""Declaration of the C++ form of a task or model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Native:
    """`header`, in pipeline/native, holds the C++ form; `constants` are what it is compiled for."""

    header: str
    constants: Mapping[str, int | float] = field(default_factory=dict)


def native_of(part: object) -> Native | None:
    """The C++ form of a task or model; None where it has none for these parameters, as optimisers and schedules.

    It is not inherited: a subclass may have changed the arithmetic, so `native` counts only where the object's own
    class defines it. One that changes nothing of the arithmetic says so by `return super().native()`.
    """
    own = vars(type(part)).get("native")
    found: Native | None = None if own is None else own(part)
    return found


# Words of C++ that are names in Python.
_CPP_WORDS = {
    *("alignas", "alignof", "asm", "auto", "bool", "case", "catch", "char", "compl", "const", "constexpr"),
    *("const_cast", "decltype", "default", "delete", "do", "double", "dynamic_cast", "enum", "explicit", "export"),
    *("extern", "float", "friend", "goto", "inline", "int", "long", "mutable", "namespace", "new", "noexcept"),
    *("nullptr", "operator", "private", "protected", "public", "register", "reinterpret_cast", "short", "signed"),
    *("sizeof", "static", "static_assert", "static_cast", "struct", "switch", "template", "this", "thread_local"),
    *("throw", "true", "false", "typedef", "typeid", "typename", "union", "unsigned", "using", "virtual", "void"),
    *("volatile", "wchar_t", "xor"),
}


def cpp_name(name: str) -> str:
    """The name of a parameter in C++: its own, with `_` behind it where that is a word of the language."""
    return f"{name}_" if name in _CPP_WORDS else name
