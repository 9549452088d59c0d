from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from cns_cli.porcelain.reporting.drawing import lay_out


def test_a_line_keeps_one_lane():
    rows = lay_out([("c", ["b"]), ("b", ["a"]), ("a", [])])
    assert [row.lane for row in rows] == [0, 0, 0]
    assert rows[0].above == ()
    assert rows[0].below == ((0, 0),)
    assert rows[2].above == ((0, 0),)
    assert rows[2].below == ()


def test_a_merge_opens_a_lane_and_a_fork_closes_it():
    #  m
    #  |\
    #  x y
    #  |/
    #  o
    rows = lay_out([("m", ["x", "y"]), ("x", ["o"]), ("y", ["o"]), ("o", [])])
    assert [row.lane for row in rows] == [0, 0, 1, 0]
    assert rows[0].below == ((0, 0), (0, 1))
    assert rows[1].below == ((1, 1), (0, 0))
    assert rows[2].below == ((0, 0), (1, 1))
    assert rows[3].above == ((0, 0), (1, 0))


def test_two_tips_have_lanes_of_their_own():
    rows = lay_out([("b", ["o"]), ("a", ["o"]), ("o", [])])
    assert [row.lane for row in rows] == [0, 1, 0]


def test_a_parent_that_is_left_out_leaves_the_line_open():
    (row,) = lay_out([("b", ["older"])])
    assert row.below == ((0, 0),)


def test_a_lane_is_used_again_when_it_is_free():
    rows = lay_out([("b", ["o"]), ("a", []), ("c", ["o"]), ("o", [])])
    assert [row.lane for row in rows] == [0, 1, 1, 0]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.integers(1, 14).flatmap(
        lambda n: st.tuples(*[st.sets(st.integers(0, max(0, i - 1)), max_size=3) for i in range(n)])
    )
)
def test_every_line_goes_on_from_row_to_row_until_its_commit(parents):
    """What leaves a row at its lower edge arrives at the upper edge of the next; each parent's line ends at it."""
    count = len(parents)
    commits = [(str(i), [str(p) for p in sorted(parents[i]) if p < i]) for i in reversed(range(count))]
    rows = lay_out(commits)
    for upper, lower in pairwise(rows):
        assert sorted({bottom for _, bottom in upper.below}) == sorted({top for top, _ in lower.above})
    places = {commit: row for (commit, _), row in zip(commits, rows, strict=True)}
    for commit, its in commits:
        assert len([line for line in places[commit].below if line[0] == places[commit].lane]) >= len(its)
    assert rows[-1].below == ()
