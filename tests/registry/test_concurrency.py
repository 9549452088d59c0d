"""Many terminals at once: every commit is there, in one line, and readers never see half of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from registry.repository import Repository
from tests.registry.making import new_repository

ROOT = Path(__file__).resolve().parents[2]
PROCESSES, COMMITS = 4, 5

COMMITTER = """
import sys
from pathlib import Path
from registry.repository import Repository
from tests.registry.making import add
repository = Repository.discover(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    done = add(repository, f"{sys.argv[2]}-{number}")
    assert dict(repository.log(limit=None))[done.id] == done.commit
    print(done.id, flush=True)
"""


def start(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMITTER, *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_commits_of_four_processes_are_all_kept(tmp_path: Path) -> None:
    repository = new_repository(tmp_path)
    committers = [start(str(tmp_path), f"p{number}", str(COMMITS)) for number in range(PROCESSES)]
    acknowledged = []
    for committer in committers:
        out, err = committer.communicate(timeout=120)
        assert committer.returncode == 0, err
        acknowledged += out.split()
    assert len(acknowledged) == PROCESSES * COMMITS
    again = Repository(repository.root)
    line = dict(again.log())
    assert set(acknowledged) <= line.keys()
    assert len(line) == PROCESSES * COMMITS + 1
    assert all(len(commit.parents) == 1 for commit in line.values() if commit.kind == "add")
    assert len(again.tree_of("HEAD").concepts) == PROCESSES * COMMITS
    assert len(again.reflog("main")) == PROCESSES * COMMITS + 1


def test_settings_of_two_processes_are_all_kept(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from registry.repository import Repository
for number in range(20):
    Repository(Path(sys.argv[1])).set_config(f"{sys.argv[2]}.k{number}", number)
"""
    new_repository(tmp_path)
    command = [sys.executable, "-c", code, str(tmp_path)]
    writers = [subprocess.Popen([*command, name], cwd=ROOT) for name in ("a", "b")]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    assert {name: len(Repository(tmp_path).config[name]) for name in ("a", "b")} == {"a": 20, "b": 20}


def test_folder_that_all_begin_at_once_becomes_one_registry(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from registry.errors import AlreadyARegistry
from tests.registry.making import new_repository
try:
    new_repository(Path(sys.argv[1]))
    print("made")
except AlreadyARegistry:
    print("there")
"""
    command = [sys.executable, "-c", code, str(tmp_path / "dogs")]
    starters = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
    said = sorted(starter.communicate(timeout=60)[0].strip() for starter in starters)
    assert said == ["made", *["there"] * (PROCESSES - 1)]
    assert Repository.discover(tmp_path / "dogs").head().branch == "main"
    assert [path.name for path in (tmp_path / "dogs").iterdir()] == [".cns"]
