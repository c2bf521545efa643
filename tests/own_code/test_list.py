"""`seedbed list NAME`: every name is shown, with all that a sweep file may say of it; a near miss is named."""

from __future__ import annotations

import importlib
import io
import re

import pytest

from pipeline.own_code.imported import load, resolved
from pipeline.spec.parameters import Registered
from pipeline.spec.registered import MADE
from pipeline.store.pack_store import StoreError
from sweeps.cli.consoles import PlainConsole
from sweeps.command.own.creating import create
from sweeps.command.own.kinds import KINDS_OF_CODE
from sweeps.command.own.showing import show
from sweeps.command.shipped import shipped_sweeps


def shown(name):
    """What `seedbed list NAME` prints."""
    out = PlainConsole(file=io.StringIO(), width=200)
    show(name, out)
    return out.file.getvalue()


@pytest.mark.parametrize("kind", KINDS_OF_CODE)
def test_every_class_is_shown_with_its_parameters_its_description_and_where_it_is(kind):
    for name, cls in KINDS_OF_CODE[kind].classes.items():
        told = shown(name)
        assert cls.__doc__.splitlines()[0] in told
        # Files of the user's own, which other tests import, are modules of another name.
        file = cls.__module__.rpartition(".")[2].removeprefix("seedbed_imported_")
        assert re.search(rf"defined in \S*{file}\.py:\d+", told)
        assert f"contract: the docstring of {KINDS_OF_CODE[kind].classes.base_class.__module__}" in told
        if issubclass(cls, Registered):
            for field in cls.model_fields:
                assert re.search(rf"^ *{field} ", told, re.M), field


def test_type_default_bounds_and_axis_of_a_parameter_are_shown():
    lines = shown("adamw").splitlines()
    (lr,) = [line for line in lines if line.split()[:1] == ["lr"]]
    (clip,) = [line for line in lines if line.split()[:1] == ["clip"]]
    (beta1,) = [line for line in lines if line.split()[:1] == ["beta1"]]
    assert lr.split()[1:5] == ["float", "required", ">", "0"]
    assert "float | null" in clip
    assert clip.split()[4:7] == ["null", ">", "0"]
    assert beta1.split()[1:8] == ["float", "0.9", ">=", "0,", "<", "1", "vector"]
    assert any(line.startswith("in a sweep file: {name: adamw, ") and "lr: ..." in line for line in lines)
    (keys,) = [line for line in shown("dictionary_lookup").splitlines() if line.split()[:1] == ["num_keys"]]
    assert keys.split()[-1] == "static"


@pytest.mark.parametrize("name", ["task", "stopping rules"])
def test_a_kind_is_shown_with_a_line_for_each_of_its_names(name):
    kind = next(kind for word, kind in KINDS_OF_CODE.items() if name in (word, kind.plural))
    told = shown(name)
    for registered, cls in kind.classes.items():
        assert re.search(rf"^ *{registered} +{re.escape(cls.__doc__.splitlines()[0][:30])}", told, re.M)


def test_a_sweep_that_comes_with_seedbed_is_shown_as_it_is():
    (path,) = [path for path in shipped_sweeps() if path.stem == "quickstart"]
    assert path.read_text() in shown("quickstart")


def test_a_name_that_stands_for_what_is_made_from_ones_own_class_is_shown():
    for makers in MADE.values():
        for name, (module, _) in makers.items():
            told = shown(name)
            assert importlib.import_module(module).__doc__.splitlines()[0] in told
            assert f"{module.rpartition('.')[2]}.py:" in told


def test_a_class_of_ones_own_is_shown_once_it_is_imported(tmp_path):
    create("task", "fox", tmp_path, None, PlainConsole(file=io.StringIO()))
    with pytest.raises(StoreError):
        shown("fox")
    load(resolved("./fox.py", tmp_path))
    told = shown("fox")
    assert f"defined in {tmp_path / 'fox.py'}:" in told
    assert "num_kinds" in told


@pytest.mark.parametrize(("near", "name"), [("dictionary_lokup", "dictionary_lookup"), ("adam", "adamw")])
def test_a_name_that_is_nearly_right_is_suggested(near, name):
    with pytest.raises(StoreError, match=f"unknown name '{near}'; did you mean '{name}'"):
        shown(near)
