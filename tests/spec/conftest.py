"""Reading a sweep file from its text."""

import pytest

from pipeline.spec.sweep import SpecError, load_spec


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def from_text(text, *overrides):
        (tmp_path / "s.yaml").write_text(text)
        return load_spec("s.yaml", overrides)

    return from_text


@pytest.fixture
def mistakes(load):
    def told(text, *overrides):
        with pytest.raises(SpecError) as refused:
            load(text, *overrides)
        return str(refused.value).split("\n")

    return told
