"""The tutorials, word for word, from an empty folder, in few steps: every line does what the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from docs.newcomer import Newcomer, pages
from docs.tour import PLAIN, ROOT, masked
from tests import quick


@pytest.mark.embedded
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_a_newcomer_sees_what_the_page_shows(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLAIN.items():
        monkeypatch.setenv(name, value)
    text = page.read_text(encoding="utf-8")
    with quick.few_steps():
        came = Newcomer(tmp_path, quick.cns, PYTEST_PLUGINS="tests.quick", PYTHONPATH=str(ROOT)).follow(text)
    assert masked(came) == masked(text)
    for name in re.findall(r"\]\(\.\./images/([\w.]+)\)", text):
        (made,) = tmp_path.glob(f"*/{name}")
        assert _size(made) == _size(ROOT / "docs" / "images" / name)


def _size(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as image:
        return image.size


def test_a_line_that_fails_stops_the_page_unless_it_says_so(tmp_path: Path) -> None:
    newcomer = Newcomer(tmp_path)
    assert newcomer.follow("```console\n$ false\n$ echo $?\n```") == "```console\n$ false\n$ echo $?\n1\n```"
    with pytest.raises(SystemExit, match="`false` ended with 1"):
        newcomer.follow("```console\n$ false\n```")


def test_a_ci_server_is_no_part_of_a_readers_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert (
        Newcomer(tmp_path).follow("```console\n$ printenv CI\n$ echo $?\n```")
        == "```console\n$ printenv CI\n$ echo $?\n1\n```"
    )


def test_a_block_with_a_title_becomes_a_file(tmp_path: Path) -> None:
    page = '```toml title="a/b.toml"\nx = 1\n```\n```console\n$ cd a\n$ cat b.toml\nold\n```\n'
    assert Newcomer(tmp_path).follow(page) == page.replace("old", "x = 1")
