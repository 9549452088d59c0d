"""A registry that a later version made is refused by every command, and not one byte of it changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cns_cli.main import VERBS, Verbs
from registry.objects import object_id
from tests.cli.conftest import PNG

WORDS = {
    "add": ("rex", "photos", "--class", "dog", "--device", "cpu"),
    "generate": ("a dog",),
    "import": (".cns/config.toml", "mug", "--class", "cup"),
    "erase": ("dog",),
    "checkout": ("main",),
    "branch": ("side",),
    "tag": ("v1",),
    "rm": ("rex",),
    "mv": ("rex", "bello"),
    "diff": ("HEAD",),
    "blame": ("rex",),
    "switch": ("main",),
    "merge": ("main",),
    "cherry-pick": ("main",),
    "revert": ("main",),
    "reset": ("main",),
    "remote add": ("origin", "elsewhere"),
    "remote set-url": ("origin", "elsewhere"),
    "remote remove": ("origin",),
    "bundle create": ("out.bundle",),
    "verify": ("main",),
    "purge": ("rex", "--yes"),
    "promote": ("champion",),
    "export": ("out",),
}
GROUPS = {"mlflow": ("sync", "restore"), "bundle": ("create",)}
# What works in another folder than the registry's, as `bundle verify` and `bundle clone` do, or in none.
ELSEWHERE = {"clone", "schema", "completion"}


def commands() -> Iterator[list[str]]:
    for verb, command in Verbs().items():
        inner = GROUPS.get(verb) or tuple(getattr(command, "commands", ()))
        for word in inner or ("",):
            if verb not in ELSEWHERE:
                typed = f"{verb} {word}".strip()
                yield [*typed.split(), *WORDS.get(typed, ())]


def state(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*")}


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_later_registry_is_refused_untouched(lineage: Any, cns: Any, tmp_path: Path, words: list[str]) -> None:
    lineage.add("rex")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(PNG)
    (lineage.repo.folder / "format").write_bytes(b"cns registry 2\n")
    before = state(lineage.repo.folder)
    result = cns(*words)
    assert state(lineage.repo.folder) == before
    assert result.exit_code == 4, result.output
    assert re.search(r"format '2'|already holds a registry", result.output), result.output


def test_all_commands_are_tried() -> None:
    assert {words[0] for words in commands()} == set(VERBS) - ELSEWHERE


@pytest.mark.parametrize(
    "words", [["log"], ["status"], ["show"], ["checkout", "main"], ["rm", "rex"], ["gc"], ["fsck"]]
)
def test_later_object_is_refused_untouched(lineage: Any, cns: Any, words: list[str]) -> None:
    commit = lineage.add("rex")
    payload = commit.commit.payload().replace(b'"format":1', b'"format":2')
    from registry import envelope

    later = object_id("commit", payload)
    lineage.repo.objects.path(later).write_bytes(envelope.seal("commit", payload))
    lineage.repo.refs.overwrite("refs/heads/main", later)
    lineage.repo.index.close()
    before = state(lineage.repo.folder)
    result = cns(*words)
    assert result.exit_code == 4
    assert "format 2" in result.output
    after = state(lineage.repo.folder)
    assert {path: content for path, (_, content) in after.items() if path in before} == {
        path: content for path, (_, content) in before.items()
    }
