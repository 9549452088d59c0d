"""The order in which a history is drawn is git's: random histories are written as git repositories, too."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from registry.dag import between, children_first

HISTORIES = 40
COMMITS = 14


def random_history(rng: random.Random, first: int) -> dict[str, list[str]]:
    """Commits by number, the oldest first, with their parents: several roots, merges of two to four."""
    found: dict[str, list[str]] = {}
    for number in range(first, first + COMMITS):
        count = min(len(found), rng.choice((0, 1, 1, 1, 1, 2, 2, 2, 3, 4)))
        found[str(number)] = rng.sample(list(found), count)
    return found


def written(history: dict[str, list[str]]) -> str:
    """A history in the language of `git fast-import`; a minute passes between two commits."""
    lines = []
    for number, parents in history.items():
        committer = f"committer a <a> {1_700_000_000 + 60 * int(number)} +0000"
        lines += [f"commit refs/heads/c{number}", f"mark :{number}", committer, "data 0"]
        lines += [*(f"{'merge' if at else 'from'} :{parent}" for at, parent in enumerate(parents)), ""]
    return "\n".join(lines) + "\n"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_children_come_first_in_gits_order(tmp_path: Path) -> None:
    rng = random.Random(14)
    histories = [random_history(rng, 1 + COMMITS * place) for place in range(HISTORIES)]

    def git(*words: str, text: str = "") -> str:
        done = subprocess.run(["git", *words], cwd=tmp_path, input=text, capture_output=True, text=True, check=True)
        return done.stdout

    git("init", "--quiet", "--bare")
    git("fast-import", "--quiet", "--export-marks=marks", text="".join(map(written, histories)))
    marks = dict(line.split(" ")[::-1] for line in (tmp_path / "marks").read_text().splitlines())
    for history in histories:
        tip, other = list(history)[-1], rng.choice(list(history))
        for excluded in ([], [other]):
            shown = between(excluded, [tip], history.__getitem__)
            order = children_first([tip], shown, history.__getitem__)
            ids = git("log", "--topo-order", "--format=%H", f"c{tip}", *(f"^c{one}" for one in excluded)).split()
            assert [f":{number}" for number in order] == [marks[one] for one in ids]
