"""What an earlier version wrote stays readable; what a later one writes is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import UnknownFormat
from registry.health.fsck import fsck
from registry.objects import KINDS, Concept, Record, Tree
from registry.refs import NAMESPACES
from registry.repository import Repository
from tests.golden import ARCHIVE, unpack
from tests.golden.make_tiny import make
from tests.registry.making import add, evaluations, snapshot

LATER = {"erasure"}
"""Kinds of objects that came after these registries were written."""
TINY = ARCHIVE.with_name("format-1-tiny.tar")
HEAD = "bb404551c77093bdd78f702c49c16687d40c77f7f9733df95be632df44228b19"
REX = "d6018f0cd989b78f97bb6ee8c69cb482e1f2373c23143d23ab36622682c40f7a"
PIP = "282c15536aa606eaa8ae72fc66f83ac4ba3c0cbac51c1517de30ab49a2a778b6"
SCORES = "592c15b314185b9e775f8a51a5d5968cf5c66fe3a87823381e7176d2e9938985"


@pytest.fixture
def tiny(tmp_path: Path) -> Repository:
    return Repository(unpack(tmp_path / "tiny", TINY))


def test_format_1_has_the_ids_that_it_had(tiny: Repository) -> None:
    assert tiny.refs.all(*NAMESPACES) == {
        "refs/heads/Dev/pip": PIP,
        "refs/heads/main": HEAD,
        "refs/tags/v1.0": REX,
        "refs/lost/pip": PIP,
        "refs/remotes/team/main": REX,
        f"refs/evaluations/{tiny.commit_of(REX).tree}/{SCORES}": SCORES,
    }
    assert tiny.head().branch == "main"
    assert {tiny.objects.kind_of(known) for known in tiny.objects.ids()} == set(KINDS) - LATER


@pytest.mark.parametrize("archive", sorted(ARCHIVE.parent.glob("format-*.tar")), ids=lambda path: path.stem)
def test_every_golden_registry_is_whole(tmp_path: Path, archive: Path) -> None:
    report, _ = fsck(Repository(unpack(tmp_path, archive)).folder)
    assert report.findings == []
    assert report.objects.keys() == set(KINDS) - LATER


def test_format_1_is_read_in_every_way(tiny: Repository) -> None:
    assert [commit.kind for _, commit in tiny.log()] == ["remove", "add", "add", "init"]
    assert tiny.commit_of(HEAD).message == "remove rex\n\nwith a body, and ü"
    assert list(tiny.concepts(tiny.tree_of("Dev/pip"))) == ["pip", "rex", "tom"]
    assert tiny.resolve("concept:rex") == tiny.resolve("v1.0") == tiny.resolve("HEAD~2") == REX
    assert tiny.resolve("HEAD@{2}") == PIP
    rex = tiny.concepts(tiny.tree_of("v1.0"))["rex"]
    assert isinstance(rex, Concept)
    assert rex.tokens == ("<rex>",)
    assert tiny.objects.get(tiny.commit_of(REX).record or "", Record).data["metrics"] == {
        "clip_i": 0.5,
        "identity": 0.79,
    }
    (scores,) = evaluations(tiny, tiny.commit_of(REX).tree, tiny.tree_of("v1.0").concepts["rex"], "p1")
    assert scores.scores == {"clip_i": [0.25, 0.75]}


def test_format_1_can_be_gone_on_with(tiny: Repository) -> None:
    add(tiny, "zoe")
    assert list(tiny.tree_of("HEAD").concepts) == ["tom", "zoe"]
    assert fsck(tiny.folder)[0].findings == []


def test_this_version_writes_what_format_1_has(tiny: Repository, tmp_path: Path) -> None:
    """How an object is compressed may change with zstd; what it says, and so its id, may not."""
    made = make(tmp_path / "made")
    assert set(made.objects.ids()) == set(tiny.objects.ids())
    assert {known: made.objects.read(known) for known in made.objects.ids()} == {
        known: tiny.objects.read(known) for known in tiny.objects.ids()
    }
    names = {path: content for path, content in snapshot(made).items() if not path.startswith("objects/")}
    assert names == {path: content for path, content in snapshot(tiny).items() if not path.startswith("objects/")}


def test_later_registry_is_refused_untouched(tiny: Repository) -> None:
    (tiny.folder / "format").write_bytes(b"cns registry 2\n")
    before = {path: path.stat().st_mtime_ns for path in tiny.folder.rglob("*")}
    for opened in (Repository, Repository.discover, lambda root: fsck(root / ".cns")):
        with pytest.raises(UnknownFormat):
            opened(tiny.root)
    assert {path: path.stat().st_mtime_ns for path in tiny.folder.rglob("*")} == before


def test_later_object_is_refused_and_stays(tiny: Repository) -> None:
    tree = tiny.commit_of(HEAD).tree
    path = tiny.objects.path(tree)
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content.replace(b"cns-object 1", b"cns-object 2"))
    with pytest.raises(UnknownFormat):
        tiny.objects.get(tree, Tree)
    with pytest.raises(UnknownFormat):
        add(tiny, "zoe")
    with pytest.raises(UnknownFormat):
        tiny.objects.write("tree", tiny.tree_of("HEAD").payload())
    assert path.read_bytes() == content.replace(b"cns-object 1", b"cns-object 2")
