"""A commit of kind import goes where others go: to a remote and back, into a bundle, through merge, mv, revert, rm."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.repository import Repository
from tests.cli.conftest import run
from tests.porcelain.test_import import write_lora


def cns(*words: str | Path) -> None:
    """Run a command, which must do what it is asked for."""
    result = run(*map(str, words))
    assert result.exit_code == 0, result.stdout + result.stderr


def tree(folder: Path) -> dict[str, str]:
    return dict(Repository(folder).tree_of("HEAD").concepts)


@pytest.fixture
def imported(empty: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry, and the folder that commands run in, with an imported concept."""
    write_lora(tiny_base, empty / "lora.safetensors")
    monkeypatch.chdir(empty)
    cns("import", "lora.safetensors", "zed", "--class", "dog")
    return empty


def test_an_import_is_pushed_cloned_pulled_and_bundled(
    imported: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cns("remote", "add", "origin", imported / "shared")
    cns("push")
    cns("clone", imported / "shared", imported / "bob", "--base", tiny_base)
    cns("import", "lora.safetensors", "yak", "--class", "cat", "--weight", "0.5")
    cns("push")
    monkeypatch.chdir(imported / "bob")
    cns("pull")
    cns("fsck")
    cns("bundle", "create", "all.bundle")
    cns("bundle", "verify", "all.bundle")
    cns("clone", "all.bundle", imported / "eve", "--base", tiny_base)
    assert tree(imported).keys() == {"zed", "yak"}
    assert tree(imported) == tree(imported / "bob") == tree(imported / "eve")


def test_an_import_is_merged_renamed_taken_back_and_removed(imported: Path) -> None:
    cns("switch", "-c", "side")
    cns("import", "lora.safetensors", "yak", "--class", "cat", "--weight", "0.5")
    cns("switch", "main")
    cns("mv", "zed", "bello")
    cns("merge", "side")
    assert tree(imported).keys() == {"bello", "yak"}
    cns("revert", "concept:yak")
    cns("rm", "bello")
    assert not tree(imported)
    cns("fsck")
