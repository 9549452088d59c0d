"""Killed at every step: the registry is as before or as after, and the next command works without a repair.

A child process runs an operation and dies, without any clean-up, before its k-th system call that changes a file (or in
the middle of a write), for every k until the operation comes to its end. What the kernel got, survives; that is what
SIGKILL does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry import fsio
from registry.errors import RegistryError
from registry.refs import HEADS
from registry.repository import Repository
from tests.registry.making import add, base, evaluation, evaluations, new_repository
from tests.torture.injection import KILLED, dies_at


def steps(torn: bool, operation: Callable[[], object]) -> Iterator[int]:
    """Yield after each death, until the operation ends by itself."""
    for step in range(1, 400):
        if not dies_at(step, torn, operation):
            return
        yield step
    pytest.fail("the operation has no end")


def check(repository: Repository) -> str:
    """Return the tip, after everything that a reader may ask for was read."""
    head = repository.head()
    for _, commit in repository.log():
        for concept in repository.concepts(repository.tree_of(head.commit)).values():
            for part in concept.links():
                repository.objects.load(part)
        assert repository.objects.load(commit.tree)
    for ref in ("HEAD", "main"):
        moves = repository.reflog(ref)
        assert moves[0].new == (head.commit if ref == "HEAD" else repository.branches()["main"])
        assert not repository.reflogs.damaged(HEADS + ref if ref == "main" else ref)[:-1]
    return head.commit


@pytest.mark.parametrize("torn", [False, True], ids=["between", "torn"])
def test_commit_survives_a_kill_at_every_step(repository: Repository, torn: bool) -> None:
    before = check(repository)
    died = []
    for step in steps(torn, lambda: add(Repository(repository.root), f"c{step_name(repository)}")):
        died.append(step)
        after = check(Repository(repository.root))
        assert after == before or repository.commit_of(after).parents == (before,)
        before = after
    assert len(died) > 30
    assert check(Repository(repository.root)) != before
    add(repository, "last")
    check(Repository(repository.root))


def step_name(repository: Repository) -> int:
    return len(repository.tree_of("HEAD").concepts)


@pytest.mark.parametrize("torn", [False, True], ids=["between", "torn"])
def test_checkout_survives_a_kill_at_every_step(repository: Repository, torn: bool) -> None:
    first = repository.head().commit
    second = add(repository, "rex").id
    for _ in steps(torn, lambda: Repository(repository.root).checkout(first, time=0)):
        assert check(Repository(repository.root)) in (first, second)
        repository.checkout("main", time=0)
    assert check(Repository(repository.root)) == first


@pytest.mark.parametrize("torn", [False, True], ids=["between", "torn"])
def test_renaming_a_branch_leaves_it_by_one_name_at_least(repository: Repository, torn: bool) -> None:
    tip = add(repository, "rex").id
    places = set()
    for _ in steps(torn, lambda: Repository(repository.root).rename_branch("main", "trunk", time=0)):
        now = Repository(repository.root)
        now.checkout("HEAD")  # takes the lock of the dead, so that each try makes the same calls
        assert now.head().commit == tip
        assert set(now.branches().values()) == {tip}
        places.add((now.head().branch, *now.branches()))
        if now.head().branch == "trunk":
            if "main" not in now.branches():
                now.create_branch("main", time=0)
            now.checkout("main", time=0)
        if "trunk" in now.branches():
            now.delete_branch("trunk", time=0)
    assert places >= {("main", "main"), ("main", "main", "trunk"), ("trunk", "main", "trunk")}
    done = Repository(repository.root)
    assert (done.head().branch, done.branches()) == ("trunk", {"trunk": tip})
    assert done.reflog("trunk")[0].message == "branch: renamed from main to trunk"
    assert not done.reflogs.damaged(HEADS + "trunk")


def test_init_leaves_all_or_nothing(tmp_path: Path) -> None:
    made = 0
    # 256 folders are made in a row: a few of those deaths are enough.
    for step in [*range(1, 10), *range(10, 262, 63), *range(262, 320, 2)]:
        folder = tmp_path / str(step)
        folder.mkdir()
        died = dies_at(step, True, lambda folder=folder: new_repository(folder))  # type: ignore[misc]
        if (folder / ".cns").exists():
            check(Repository(folder))
        else:
            assert died
            check(new_repository(folder))
        made += not died
    assert made > 1


def test_evaluation_and_config_survive_a_kill_at_every_step(repository: Repository) -> None:
    add(repository, "rex")
    one = evaluation(repository, "rex")
    for _ in steps(True, lambda: Repository(repository.root).add_evaluation(one)):
        found = evaluations(Repository(repository.root), one.tree, one.concept, "p1")
        assert found in ([], [one])
    for _ in steps(True, lambda: Repository(repository.root).set_config("a.b", 1)):
        assert repository.config in ({"base": {"source": "emoji-64"}}, {"base": {"source": "emoji-64"}, "a": {"b": 1}})
    assert repository.config["a"] == {"b": 1}


def test_naive_writer_is_caught(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same harness, and a writer that writes in place: it must find what the protocol prevents."""

    def in_place(path: Path, data: bytes, *, mode: int = 0o666) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(handle, data)
        os.close(handle)

    monkeypatch.setattr(fsio, "replace", in_place)
    found = 0
    for _ in steps(True, lambda: add(Repository(repository.root), f"c{step_name(repository)}")):
        try:
            check(Repository(repository.root))
        except RegistryError:
            found += 1
            break
    assert found


def test_killed_holder_leaves_no_lock(repository: Repository) -> None:
    def hold() -> None:
        with repository.locked():
            os._exit(KILLED)

    assert dies_at(10_000, False, hold)
    add(repository, "rex")


def test_base_of_a_torn_init_is_not_needed(tmp_path: Path) -> None:
    assert dies_at(5, False, lambda: Repository.init(tmp_path, base(), {}, author="", time=0))
    assert not (tmp_path / ".cns").exists()
    new_repository(tmp_path)
