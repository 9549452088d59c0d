"""`cns import` as it is typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("nowhere.safetensors", "rex"),
        ("a.safetensors",),
        ("a.safetensors", "rex", "--weight", "0"),
        ("a.safetensors", "rex", "--kind", "animal"),
        ("a.safetensors", "rex", "--images", "nowhere"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_loaded(cns: Any, tmp_path: Path, words: Any) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"")
    assert cns("import", *words).exit_code == 2


@pytest.mark.usefixtures("alone")
def test_an_unclear_noun_ends_in_what_to_type(lineage: Any, cns: Any, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"")
    result = cns("import", "a.safetensors", "rex", "--only-kv")
    assert result.exit_code == 5
    assert result.stderr.splitlines()[-1] == "  try: cns import a.safetensors rex --only-kv --class NOUN"


def test_without_a_registry_it_says_how_to_make_one(cns: Any, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"")
    result = cns("import", "a.safetensors", "rex", "--class", "dog")
    assert result.exit_code == 4
    assert "cns init" in result.stderr
