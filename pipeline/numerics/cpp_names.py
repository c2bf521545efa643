"""Names of parameters in C++."""

from __future__ import annotations

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
