"""Boxes: what is one, and which cells it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cns.boxes import Box, parse_box
from cns.errors import RegionError

sides = st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True).map(sorted)
boxes = st.builds(lambda across, down: Box(across[0], down[0], across[1], down[1]), sides, sides)


@given(boxes)
def test_a_box_is_read_back_as_it_is_written(box: Box) -> None:
    assert parse_box(str(box)) == box


@pytest.mark.parametrize(
    "text", ["", "0,0,1", "0,0,1,1,1", "a,b,c,d", "0,0,nan,1", "0,0,inf,1", "-0.1,0,1,1", "0,0,1,1.01", "0;0;1;1"]
)
def test_what_is_no_box_is_refused_and_says_what_was_expected(text: str) -> None:
    with pytest.raises(RegionError, match="expected x0,y0,x1,y1"):
        parse_box(text)


@pytest.mark.parametrize("text", ["0.5,0,0.5,1", "0.6,0,0.5,1", "0,1,1,0"])
def test_a_box_without_area_is_refused(text: str) -> None:
    with pytest.raises(RegionError, match="empty"):
        parse_box(text)


@given(st.floats(0.01, 0.99), st.integers(1, 64), st.integers(1, 64))
def test_boxes_that_touch_share_no_cell_and_leave_none_out(edge: float, height: int, width: int) -> None:
    left = Box(0, 0, edge, 1).exact_cells(height, width)
    right = Box(edge, 0, 1, 1).exact_cells(height, width)
    assert sorted(left + right) == list(range(height * width))


@given(boxes, st.integers(1, 20), st.integers(1, 20))
def test_a_box_holds_at_least_one_cell_and_none_twice(box: Box, height: int, width: int) -> None:
    cells = box.cells(height, width)
    assert cells
    assert len(set(cells)) == len(cells)
    assert all(0 <= cell < height * width for cell in cells)


def test_the_left_half_from_below_the_sky() -> None:
    assert Box(0, 0.3, 0.5, 1).exact_cells(4, 4) == [4, 5, 8, 9, 12, 13]
    assert Box(0.4, 0.4, 0.6, 0.6).exact_cells(4, 4) == []
    assert Box(0.4, 0.4, 0.6, 0.6).cells(4, 4) == [10]
