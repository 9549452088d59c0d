"""A drawing says what the history is: whoever reads the characters alone finds every commit and all of its parents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cns_cli.graph import Graph
from registry.dag import children_first

History = dict[str, list[str]]


def read(rows: Sequence[str], names: Iterable[str]) -> dict[str, set[str]]:
    """Follow every line of a drawing from star to star; the stars are called `names` from top to bottom.

    It knows the characters and nothing of how they were drawn: a column of two characters is a place; `|` goes on
    there, `\\` goes to the place on the right, `/` to the one on the left, or along `_` to the place that these reach.
    """
    coming, called = iter(names), {}
    children: dict[int, set[str]] = {}  # place -> commits whose lines come down there
    for row in rows:
        below: dict[int, set[str]] = {}
        for column, mark in enumerate(row):
            if mark in " _":
                continue
            place = (column + 1) // 2 if mark == "/" else column // 2
            assert column % 2 == (mark in "/\\"), row
            if mark == "*":
                name = next(coming)
                called[name] = set[str]()
                for child in children.get(place, ()):
                    called[child].add(name)
                below.setdefault(place, set()).add(name)
                continue
            left = column
            while mark == "/" and row[left - 2 : left] == "_|":
                left -= 2
            to = {"|": place, "\\": place + 1, "/": (left - 1) // 2}[mark]
            assert children[place], f"a line from nowhere in {row!r}"
            assert not below.get(to, set()) & children[place], "two lines of one commit run together"
            below.setdefault(to, set()).update(children[place])
        children = below
    assert next(coming, None) is None
    return called


def drawn(history: Mapping[str, Sequence[str]], order: Iterable[str]) -> list[str]:
    graph = Graph()
    return [row for one in order for row in graph.draw(one, history[one])]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Histories of up to 12 commits, the oldest first: with several roots, several tips, and up to four parents."""
    found: History = {}
    for number in range(draw(st.integers(1, 12))):
        known = list(found)
        parents = st.lists(st.sampled_from(known), unique=True, max_size=4) if known else st.just([])
        found[f"c{number}"] = draw(parents)
    return found


CRISS_CROSS = {"r": [], "a": ["r"], "b": ["r"], "m": ["a", "b"], "n": ["b", "a"], "x": ["m"], "y": ["n", "m"]}
OCTOPUS = {"r": [], "a": ["r"], "b": ["r"], "c": ["r"], "d": [], "o": ["a", "b", "c", "d"], "p": ["o", "b"]}


@given(histories())
@example(CRISS_CROSS)
@example(OCTOPUS)
@example({"r": [], "s": [], "t": []})
def test_whoever_reads_the_drawing_finds_the_history(history: History) -> None:
    order = list(children_first(list(history), set(history), history.__getitem__))
    assert sorted(order) == sorted(history)
    place = {name: at for at, name in enumerate(order)}
    assert all(place[child] < place[parent] for child in history for parent in history[child])
    assert read(drawn(history, order), order) == {name: set(parents) for name, parents in history.items()}


@given(histories(), st.data())
def test_any_order_that_has_children_first_can_be_drawn(history: History, data: st.DataObject) -> None:
    order: list[str] = []
    while ready := [
        one for one in history if one not in order and all(one not in history[c] or c in order for c in history)
    ]:
        order.append(data.draw(st.sampled_from(ready)))
    assert read(drawn(history, order), order) == {name: set(parents) for name, parents in history.items()}


@pytest.mark.parametrize(
    ("history", "picture"),
    [
        ({"m": ["a", "b"], "b": ["r"], "a": ["r"], "r": []}, ["*", "|\\", "| *", "* |", "|/", "*"]),
        ({"o": ["a", "b", "c"], "c": [], "b": [], "a": []}, ["*", "|\\", "| |\\", "| | *", "| *", "*"]),
        ({"s": ["t"], "t": [], "u": []}, ["*", "*", "", "*"]),
        (
            {"x": ["a"], "y": ["b"], "z": ["c"], "w": ["a"], "c": [], "b": [], "a": []},
            ["*", "| *", "| | *", "| | | *", "|_|_|/", "| | *", "| *", "*"],
        ),
        ({"x": ["a"], "y": [], "z": ["b"], "b": ["a"], "a": []}, ["*", "| *", "|", "| *", "| *", "|/", "*"]),
    ],
)
def test_what_it_looks_like(history: History, picture: list[str]) -> None:
    assert drawn(history, history) == picture


def test_a_line_that_is_followed_wrongly_is_noticed() -> None:
    """The positive control: a root right above another tip, as if it were its parent."""
    assert read(["*", "*"], ["s", "t"]) == {"s": {"t"}, "t": set()}
    with pytest.raises(KeyError):
        read(["*", "| |"], ["s"])
