"""The search on its own: the right commit, in as few questions as halving needs, on any graph."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registry.bisect import BisectConflict, Marks, Step, ancestors_among, next_step, reachable

Graph = Mapping[str, tuple[str, ...]]


def line(length: int) -> dict[str, tuple[str, ...]]:
    return {f"{k:05}": (f"{k - 1:05}",) if k else () for k in range(length)}


@st.composite
def graphs(draw: st.DrawFn, least: int = 2) -> dict[str, tuple[str, ...]]:
    """A history with one root, branches and merges; the last commit is a merge of everything that has no child."""
    size = draw(st.integers(least, 40))
    graph: dict[str, tuple[str, ...]] = {"000": ()}
    for k in range(1, size):
        known = sorted(graph)
        parents = draw(st.lists(st.sampled_from(known[-6:]), min_size=1, max_size=3, unique=True))
        graph[f"{k:03}"] = tuple(parents)
    children = {parent for parents in graph.values() for parent in parents}
    graph["tip"] = tuple(sorted(set(graph) - children))
    return graph


def above(graph: Graph, start: str) -> set[str]:
    """Ancestors and itself, by a plain search over sets: independent of the module."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += graph[one]
    return found


def search(
    graph: Graph, culprit: str, bad: str, goods: Iterable[str], untestable: frozenset[str] = frozenset()
) -> tuple[Step, list[str]]:
    """Answer every question as if `culprit` had broken all its descendants."""
    marks, asked = Marks(bad, frozenset(goods)), []
    for _ in range(len(graph) + 1):
        step = next_step(marks, graph.__getitem__)
        if step.kind != "test":
            return step, asked
        assert step.commit not in asked, "asked twice"
        assert step.commit not in {marks.bad, *marks.good, *marks.skipped}
        asked.append(step.commit)
        if step.commit in untestable:
            marks = Marks(marks.bad, marks.good, marks.skipped | {step.commit})
        elif culprit in above(graph, step.commit):
            marks = Marks(step.commit, marks.good, marks.skipped)
        else:
            marks = Marks(marks.bad, marks.good | {step.commit}, marks.skipped)
    raise AssertionError("the search does not end")


@given(st.integers(2, 300), st.data())
def test_a_line_of_n_suspects_takes_the_logarithm_of_n_questions(length: int, data: st.DataObject) -> None:
    graph = line(length)
    culprit = data.draw(st.sampled_from(sorted(graph)[1:]))
    step, asked = search(graph, culprit, max(graph), ["00000"])
    assert (step.kind, step.commit) == ("found", culprit)
    assert len(asked) <= math.ceil(math.log2(length - 1))


@pytest.mark.parametrize("length", range(2, 40))
def test_every_culprit_of_a_line_is_found(length: int) -> None:
    graph = line(length)
    for culprit in sorted(graph)[1:]:
        step, asked = search(graph, culprit, max(graph), ["00000"])
        assert step == Step("found", culprit)
        assert len(asked) <= math.ceil(math.log2(length - 1))


@given(graphs(), st.data())
def test_the_culprit_is_found_on_any_graph(graph: Graph, data: st.DataObject) -> None:
    culprit = data.draw(st.sampled_from(sorted(set(graph) - {"000"})))
    step, asked = search(graph, culprit, "tip", ["000"])
    assert (step.kind, step.commit) == ("found", culprit)
    assert len(asked) < len(graph) - 1


@given(graphs())
def test_the_question_is_the_one_nearest_to_half(graph: Graph) -> None:
    """Against counting by hand: no other suspect parts the suspects more evenly."""
    assume(len(graph) > 3)
    suspects = above(graph, "tip") - above(graph, "000")
    by_hand = {one: len(above(graph, one) & suspects) for one in suspects}
    ordered = [one for one in reachable(["tip"], graph.__getitem__) if one in suspects]
    assert ancestors_among(ordered, graph.__getitem__) == by_hand
    step = next_step(Marks("tip", frozenset({"000"})), graph.__getitem__)
    if step.kind == "test":
        best = max(min(count, len(suspects) - count) for count in by_hand.values())
        assert min(by_hand[step.commit], len(suspects) - by_hand[step.commit]) == best
        assert step.left == max(by_hand[step.commit], len(suspects) - by_hand[step.commit]) - 1


@given(graphs(), st.data())
def test_with_skips_the_answer_is_right_or_among_the_candidates(graph: Graph, data: st.DataObject) -> None:
    names = sorted(set(graph) - {"000"})
    culprit = data.draw(st.sampled_from(names))
    untestable = frozenset(data.draw(st.lists(st.sampled_from(names), max_size=8))) - {"tip"}
    step, _ = search(graph, culprit, "tip", ["000"], untestable)
    if step.kind == "found":
        assert step.commit == culprit
    else:
        assert culprit in step.candidates
        assert step.commit == step.candidates[-1]
        assert set(step.candidates[:-1]) <= untestable


@given(graphs(), st.data())
def test_a_good_commit_beside_the_line_is_used_after_its_merge_base(graph: Graph, data: st.DataObject) -> None:
    """The good commit is no ancestor of the bad one: what they share is asked about first."""
    bad = data.draw(st.sampled_from(sorted(set(graph) - {"000"})))
    culprit = data.draw(st.sampled_from(sorted(above(graph, bad) - {"000"})))
    good = data.draw(st.sampled_from([one for one in sorted(graph) if culprit not in above(graph, one)]))
    step, asked = search(graph, culprit, bad, [good])
    assert (step.kind, step.commit) == ("found", culprit)
    if good not in above(graph, bad):
        common = above(graph, bad) & above(graph, good)
        newest = {one for one in common if not any(one in graph[other] for other in common)}
        assert newest <= set(asked) | {good}


def test_a_bad_merge_base_means_that_it_was_mended() -> None:
    graph = {"root": (), "a": ("root",), "b": ("root",)}
    step = next_step(Marks("a", frozenset({"b"})), graph.__getitem__)
    assert (step.kind, step.commit, step.merge_base) == ("test", "root", True)
    with pytest.raises(BisectConflict) as caught:
        next_step(Marks("root", frozenset({"b"})), graph.__getitem__)
    assert (caught.value.bad, caught.value.good) == ("root", "b")


def test_a_skipped_merge_base_is_not_asked_about_again() -> None:
    graph = {"root": (), "a": ("root",), "b": ("root",)}
    assert next_step(Marks("a", frozenset({"b"}), frozenset({"root"})), graph.__getitem__).kind == "found"


@pytest.mark.parametrize("good", ["00003", "00005"])
def test_a_good_commit_at_or_above_the_bad_one_is_refused(good: str) -> None:
    with pytest.raises(BisectConflict):
        next_step(Marks("00003", frozenset({good})), line(6).__getitem__)


def test_skipping_all_neighbours_leaves_the_middle() -> None:
    """Were the next best always taken, a run of broken commits would be walked one by one."""
    graph = line(201)
    untestable = frozenset(f"{k:05}" for k in range(80, 120))
    step, asked = search(graph, "00150", "00200", ["00000"], untestable)
    assert step.commit == "00150"
    assert len([one for one in asked if one in untestable]) <= 4


def test_only_skipped_commits_left() -> None:
    graph = line(5)
    step, asked = search(graph, "00002", "00004", ["00000"], frozenset({"00001", "00002"}))
    assert step.kind == "undecided"
    assert step.candidates == ("00001", "00002", "00003")
    assert set(asked) == {"00001", "00002", "00003"}


def test_one_suspect_is_found_without_a_question() -> None:
    assert next_step(Marks("00001", frozenset({"00000"})), line(2).__getitem__) == Step("found", "00001")


def test_several_goods_narrow_the_suspects_together() -> None:
    graph = line(101)
    step, asked = search(graph, "00099", "00100", ["00000", "00096"])
    assert step.commit == "00099"
    assert len(asked) <= 2


def test_a_history_of_ten_thousand_commits_is_searched_without_recursion() -> None:
    graph = line(10_000)
    step, asked = search(graph, "07777", "09999", ["00000"])
    assert step.commit == "07777"
    assert len(asked) <= 14
