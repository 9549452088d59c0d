"""Revisions: what a person types, and what it means."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import RegistryError, UnknownRevision
from registry.objects import Commit
from registry.refs import HEADS
from registry.repository import Repository
from registry.revisions import AmbiguousRevision, commits_of
from registry.trees import without_concept
from tests.registry.making import AUTHOR, add, new_repository


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, list[str]]:
    """A line of init, a, b, c; then b removed; a tag and a branch."""
    repository = new_repository(tmp_path_factory.mktemp("lineage") / "dogs")
    ids = [repository.head().commit, *(add(repository, name).id for name in ("a", "b", "c"))]
    removed = repository.commit(
        kind="remove",
        message="",
        author=AUTHOR,
        time=1_800_000_000,
        record=None,
        change=lambda tree: without_concept(tree, "b"),
        seen=ids[3],
        keep_as="b",
    )
    ids.append(removed.id)
    repository.create_tag("v1", ids[2])
    repository.create_branch("old/Line", ids[1])
    return repository, ids


@pytest.mark.parametrize(
    ("revision", "expected"),
    [
        ("HEAD", 4),
        ("@", 4),
        ("main", 4),
        ("heads/main", 4),
        ("refs/heads/main", 4),
        ("old/Line", 1),
        ("v1", 2),
        ("tags/v1", 2),
        ("refs/tags/v1", 2),
        ("concept:a", 1),
        ("a", 1),
        ("concept:b", 2),  # removed since; what introduced it is still there
        ("c", 3),
        ("HEAD~", 3),
        ("HEAD~1", 3),
        ("HEAD~0", 4),
        ("main~4", 0),
        ("HEAD^", 3),
        ("HEAD^1", 3),
        ("HEAD^0", 4),
        ("HEAD^^", 2),
        ("main~1^", 2),
        ("v1^~1", 0),
        ("concept:c~1", 2),
        ("HEAD@{0}", 4),
        ("HEAD@{1}", 3),
        ("@{2}", 2),
        ("main@{4}", 0),
        ("main@{1}~1", 2),
        ("refs/heads/main@{1}", 3),
    ],
)
def test_means(lineage: tuple[Repository, list[str]], revision: str, expected: int) -> None:
    repository, ids = lineage
    assert repository.resolve(revision) == ids[expected]


def test_prefix_of_seven_digits_and_more(lineage: tuple[Repository, list[str]]) -> None:
    repository, ids = lineage
    for length in (7, 10, 64):
        assert repository.resolve(ids[2][:length]) == ids[2]
    assert repository.resolve(ids[2][:7] + "~1") == ids[1]


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("nope", "expected HEAD, a branch"),
        ("main~5", "'main' has 4 ancestors"),
        ("concept:a~2", "'concept:a' has 1 ancestor"),
        ("HEAD^2", "has 1 parent"),
        ("main~4^", "has 0 parents"),
        ("abc", "at least 7 digits"),
        ("concept:zebra", "no commit introduced"),
        ("concept:", "no commit introduced"),
        ("HEAD@{9}", "has 5 entries"),
        ("old/Line@{1}", "has 1 entry"),
        ("v1@{0}", "not a branch"),
        ("../x@{0}", "not a branch"),
        ("HEAD~1@{0}", "right behind HEAD"),
        ("", "1 to 512 characters"),
        ("x" * 600, "1 to 512 characters"),
        ("main~x", "expected HEAD, a branch"),
        ("0000000", "expected HEAD, a branch"),
        ("v1..main", "this is a range"),
    ],
)
def test_means_nothing(lineage: tuple[Repository, list[str]], revision: str, said: str) -> None:
    repository, _ = lineage
    with pytest.raises(UnknownRevision) as caught:
        repository.resolve(revision)
    assert said in caught.value.reason
    assert caught.value.hint


def test_prefix_of_what_is_no_commit_means_nothing(lineage: tuple[Repository, list[str]]) -> None:
    repository, ids = lineage
    with pytest.raises(UnknownRevision):
        repository.resolve(repository.commit_of(ids[0]).tree[:12])


@pytest.mark.parametrize(("typed", "meant"), [("mian", "main"), ("v11", "v1"), ("old/Lin", "old/Line")])
def test_close_name_is_suggested(lineage: tuple[Repository, list[str]], typed: str, meant: str) -> None:
    with pytest.raises(UnknownRevision) as caught:
        lineage[0].resolve(typed)
    assert caught.value.hint == f"cns show {meant}"


def test_two_meanings_are_listed(repository: Repository) -> None:
    first = repository.head().commit
    second = add(repository, "rex").id
    repository.create_tag("rex", first)
    assert repository.resolve("rex") == first  # a bare concept name is asked last
    repository.create_branch("rex", second)
    with pytest.raises(AmbiguousRevision) as caught:
        repository.resolve("rex")
    assert caught.value.meanings == (("refs/heads/rex", second), ("refs/tags/rex", first))
    assert caught.value.hint == "cns show refs/heads/rex"
    assert repository.resolve("tags/rex") == first
    assert repository.checkout("rex").branch == "rex"  # as git does: checkout asks for a branch first


def test_one_commit_under_two_names_is_no_ambiguity(repository: Repository) -> None:
    repository.create_tag("main")
    assert repository.resolve("main") == repository.head().commit


def test_branch_named_like_an_id_is_ambiguous_with_it(repository: Repository) -> None:
    first = repository.head().commit
    add(repository, "rex")
    repository.create_branch(first[:8])
    with pytest.raises(AmbiguousRevision) as caught:
        repository.resolve(first[:8])
    assert {what for what, _ in caught.value.meanings} == {f"refs/heads/{first[:8]}", first}


def test_concept_is_also_found_on_other_branches(repository: Repository) -> None:
    first = repository.head().commit
    second = add(repository, "rex").id
    repository.checkout(first)
    repository.create_branch("dev", first)
    repository.checkout("dev")
    assert repository.resolve("concept:rex") == second


def test_replaced_concept_means_the_newest_commit(repository: Repository) -> None:
    add(repository, "rex")
    repository.index.refresh([repository.head().commit], 0)
    tree = repository.commit_of(repository.head().commit).tree
    from registry.trees import with_concept
    from tests.registry.making import put_concept

    other = put_concept(repository.objects, "rex", tree, "second")
    done = repository.commit(
        kind="add",
        message="again",
        author=AUTHOR,
        time=1_800_000_000,
        record=None,
        change=lambda tree: with_concept(tree, "rex", other, overwrite=True),
        seen=repository.head().commit,
        keep_as="rex",
    )
    assert repository.resolve("rex") == done.id


def test_second_parent_of_a_merge(repository: Repository) -> None:
    first = repository.head().commit
    left = add(repository, "left").id
    repository.checkout(first)
    right = add(repository, "right").id
    tree = repository.commit_of(left).tree
    merge = repository.objects.put(Commit(tree, (left, right), None, "merge", "", AUTHOR, 1_900_000_000))
    repository.move_ref(HEADS + "merged", None, merge, author=AUTHOR, time=0, message="merge")
    assert repository.resolve("merged^2") == right
    assert repository.resolve("merged~2") == first


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v1..main", [4, 3]),
        ("v1..", [4, 3]),
        ("..v1", []),
        ("main..v1", []),
        ("HEAD~2..HEAD~1", [3]),
        ("v1...main", [4, 3]),
        ("main...old/Line", [4, 3, 2]),
        ("...v1", [4, 3]),
        ("v1...v1", []),
        ("v1", [2, 1, 0]),
    ],
)
def test_ranges_are_listed_newest_first(lineage: tuple[Repository, list[str]], text: str, expected: list[int]) -> None:
    repository, ids = lineage
    assert [ids.index(found) for found, _ in repository.log(text)] == expected
    assert [ids.index(found) for found, _ in repository.log(text, limit=1)] == expected[:1]


@pytest.mark.parametrize("text", ["nope..main", "main..nope", "a..b..c", "v1...nope", "x" * 600 + ".."])
def test_a_side_that_means_nothing_is_named(lineage: tuple[Repository, list[str]], text: str) -> None:
    with pytest.raises(UnknownRevision):
        lineage[0].log(text)


def test_ranges_of_branches_that_parted(repository: Repository) -> None:
    add(repository, "rex")
    repository.create_branch("dev")
    ours = add(repository, "kim").id
    repository.checkout("dev")
    theirs = [add(repository, name).id for name in ("tom", "pip")]
    assert [found for found, _ in repository.log("main..dev")] == theirs[::-1]
    assert {found for found, _ in repository.log("main...")} == {ours, *theirs}
    assert commits_of(repository, "dev..main") == ([ours], [theirs[1]])
    assert commits_of(repository, "dev...main") == ([theirs[1], ours], [repository.resolve("rex")])


@given(revision=st.text(st.sampled_from("HEADmain~^@{}0123456789abcdef:/.-") | st.characters(), max_size=20))
def test_any_text_is_resolved_or_refused(lineage: tuple[Repository, list[str]], revision: str) -> None:
    repository, ids = lineage
    with contextlib.suppress(RegistryError):
        assert repository.resolve(revision) in ids


def test_broken_head_does_not_hide_what_is_wrong(tmp_path: Path) -> None:
    repository = new_repository(tmp_path)
    commit = repository.head().commit
    (repository.folder / "HEAD").write_text("x")
    assert repository.resolve(commit) == commit
    assert repository.resolve("main") == commit
