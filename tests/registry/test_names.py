"""Names, and the file names that refs get."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import names
from registry.errors import BadName

ref_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}(/[A-Za-z0-9][A-Za-z0-9_-]{0,20}){0,2}", fullmatch=True)


@pytest.mark.parametrize("name", ["rex", "R2-D2", "a.b_c", "0", "x" * 64])
def test_plain_names_are_allowed(name: str) -> None:
    assert names.check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".rex", "-rex", "a..b", "a.lock", "A.LOCK", "x" * 65, "a b", "a/b", "é", "a\n", "a\x1b[0m", "rex\n"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(BadName) as caught:
        names.check_name(name)
    assert caught.value.value == name


def test_no_new_concept_is_called_head_and_one_that_is_can_be_read() -> None:
    assert names.check_name("HEAD") == "HEAD"
    assert names.check_new_name("head") == "head"
    for name in ("HEAD", "a b"):
        with pytest.raises(BadName):
            names.check_new_name(name)


@pytest.mark.parametrize("name", ["HEAD", "a//b", "/a", "a/", "a/.b", "x/" * 101 + "x"])
def test_refs_have_stricter_names(name: str) -> None:
    with pytest.raises(BadName):
        names.check_ref_name(name)


@given(ref_names)
def test_file_name_gives_the_name_back(name: str) -> None:
    assert names.name_of_file(names.file_name(name)) == name


@given(ref_names, ref_names)
def test_names_that_differ_in_case_have_files_that_differ_without_it(one: str, other: str) -> None:
    assert (names.file_name(one).lower() == names.file_name(other).lower()) == (one == other)


@pytest.mark.parametrize("file", ["README", ".tmp-1-ab", "a b", "", "a~"])
def test_foreign_files_are_no_refs(file: str) -> None:
    assert names.name_of_file(file) is None
