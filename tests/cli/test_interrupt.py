"""Ctrl-C, SIGTERM and a reader that went away: one line, the right exit code, no traceback, nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cns_cli import signals
from cns_cli.files import new_folder, write_output
from cns_cli.progress import PlainProgress
from cns_cli.signals import Interrupted
from registry.errors import DiskFailed, RegistryError
from tests.cli.conftest import ROOT

STOPS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


def python(code: str, folder: Path, **more: Any) -> subprocess.Popen[str]:
    """Run a few lines in a process of its own, beside the program's modules."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


PROGRAM = """
import sys, time
from cns_cli import signals
signals.install()
import cns_cli.commands.status
def slow(as_json: bool = False) -> None:
    "Wait."
BODY
cns_cli.commands.status.status = slow
sys.argv = ["cns", "status"]
from cns_cli.start import main
main()
"""


def stopped(body: str, number: int, folder: Path) -> tuple[int, str]:
    """Put a body in the place of a command, send it a signal when it says that it is ready, and return how it ended."""
    child = python(PROGRAM.replace("BODY", textwrap.indent(body, "    ")), folder)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    return child.returncode, err


@pytest.mark.parametrize(("number", "code", "word"), STOPS)
def test_a_signal_ends_a_command_with_one_line(number: int, code: int, word: str, tmp_path: Path) -> None:
    ended, err = stopped("print('ready', flush=True); time.sleep(60)", number, tmp_path)
    assert ended == code
    assert err == f"error: {word}; nothing half-made is left behind\n  try: cns status\n"


TURNED = """
try:
    print("ready", flush=True); time.sleep(60)
except KeyboardInterrupt:
    raise ImportError("a library made another error of it") from None
"""
SWALLOWED = """
from cns_cli.progress import PlainProgress
try:
    print("ready", flush=True); time.sleep(60)
except KeyboardInterrupt:
    pass
PlainProgress(sys.stderr).step(1)
"""
DESTROYED = """
class Slow:
    def __del__(self):
        print("ready", flush=True); time.sleep(1)
Slow()
time.sleep(60)
"""


@pytest.mark.parametrize("body", [TURNED, SWALLOWED, DESTROYED], ids=["turned", "swallowed", "destructor"])
def test_an_interruption_that_gets_lost_comes_back(body: str, tmp_path: Path) -> None:
    began = time.monotonic()
    ended, err = stopped(body, signal.SIGINT, tmp_path)
    assert ended == 130
    assert err == "error: interrupted; nothing half-made is left behind\n  try: cns status\n"
    assert time.monotonic() - began < 50


def test_ctrl_c_during_the_first_imports_shows_no_traceback(tmp_path: Path) -> None:
    code = (
        "import sys, signal, importlib.abc\n"
        "class Finder(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'typer': signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from cns_cli.start import main\n"
        "main()\n"
    )
    child = python(code, tmp_path)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (130, "error: interrupted\n")


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """`nohup`, and a job that a shell put in the background."""
    child = python(
        PROGRAM.replace("BODY", "    print('ready', flush=True); time.sleep(1)"),
        tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")


@pytest.mark.parametrize("words", [["log"], ["log", "--json"], ["--help"], ["status"]])
def test_a_reader_that_goes_away_ends_it_quietly(words: list[str], lineage: Any, tmp_path: Path) -> None:
    for number in range(3):
        lineage.add(f"c{number}")
    reading, writing = os.pipe()
    os.close(reading)
    child = subprocess.run(
        [sys.executable, "-m", "cns_cli", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (child.returncode, child.stderr) == (141, "")


FORGOT = "import typer\nprint('forgot')\nraise typer.Exit(3)"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-m", "cns_cli", "log"], 4),
        (["-m", "cns_cli", "log", "--json"], 4),
        (["-m", "cns_cli", "--help"], 4),
        (["-m", "cns_cli", "--version"], 4),
        (["-c", PROGRAM.replace("BODY", textwrap.indent("print('x' * 100_000)", "    "))], 4),
        (["-c", PROGRAM.replace("BODY", textwrap.indent(FORGOT, "    "))], 3),
    ],
)
def test_an_answer_that_cannot_be_written_is_one_error(words: list[str], code: int, lineage: Any) -> None:
    lineage.add("rex")
    with Path("/dev/full").open("w") as full:
        child = subprocess.run(
            [sys.executable, *words],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert child.returncode == code, child.stderr
    assert child.stderr.count("error: ") == 1
    assert "No space left on device" in child.stderr
    assert "Traceback" not in child.stderr


@pytest.fixture
def came() -> Iterator[None]:
    """A signal came before."""
    signals._came.append(signal.SIGTERM)
    yield
    signals._came.clear()


def test_progress_remembers_a_signal(came: None) -> None:
    for call in (lambda bar: bar.stage("x"), lambda bar: bar.step(1)):
        with pytest.raises(Interrupted) as stop:
            call(PlainProgress(sys.stderr))
        assert stop.value.number == signal.SIGTERM


def temporaries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if "tmp" in path.name)


def test_an_output_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    write_output(path, b"old")
    written = os.write

    def interrupting(handle: int, data: bytes) -> int:
        written(handle, bytes(data)[:2])
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", interrupting)
    with pytest.raises(KeyboardInterrupt):
        write_output(path, b"new and longer")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert temporaries(tmp_path) == []
    write_output(path, "text ☃")
    assert path.read_text(encoding="utf-8") == "text ☃"


def test_an_output_that_is_no_file_is_written_to(tmp_path: Path) -> None:
    write_output(Path("/dev/null"), b"x")
    code = (
        "from pathlib import Path; from cns_cli.files import write_output; write_output(Path('/dev/stdout'), b'piped')"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"piped"
    assert not Path("/dev/null").is_file()
    (tmp_path / "real").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_output(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"x"


def test_a_full_disk_names_the_file_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DiskFailed, match=r"cannot write '.*/x\.png': No space left on device"):
        write_output(tmp_path / "x.png", b"x")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="there is no folder"):
        write_output(tmp_path / "no" / "x.png", b"x")
    (tmp_path / "file").touch()
    with pytest.raises(RegistryError), new_folder(tmp_path / "file" / "x"):
        pass


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "model"

    def fill(fails: bool) -> None:
        with new_folder(target) as building:
            (building / "part").touch()
            assert not target.exists()
            if fails:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(fails=True)
    assert list(tmp_path.iterdir()) == []
    fill(fails=False)
    assert [path.name for path in target.iterdir()] == ["part"]


def test_what_a_killed_export_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    (tmp_path / f".model.{child}.tmp").mkdir()
    (tmp_path / f".model.{os.getppid()}.tmp").mkdir()
    (tmp_path / f".other.{child}.tmp").mkdir()
    with new_folder(tmp_path / "model"):
        pass
    assert temporaries(tmp_path) == sorted([f".model.{os.getppid()}.tmp", f".other.{child}.tmp"])


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["--resume", "--dry-run"], "--dry-run trains nothing", "cns add --help"),
        ([], "error: missing argument NAME", "cns add NAME IMAGES/"),
        (["rex"], "error: missing argument IMAGES/", "cns add rex IMAGES/"),
    ],
)
def test_what_add_needs_without_resume(words: list[str], said: str, hint: str, cns: Any) -> None:
    result = cns("add", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert f"  try: {hint}\n" in result.stderr


def test_resume_without_a_registry_or_a_state(cns: Any, lineage: Any) -> None:
    result = cns("add", "--resume")
    assert result.exit_code == 5
    assert result.stderr.endswith("  try: cns add NAME IMAGES/\n")


def test_resume_needs_no_torch_to_refuse(lineage: Any, tmp_path: Path) -> None:
    from tests.cli.conftest import modules_after

    assert not modules_after(["add", "--resume"], tmp_path, 5) & {"torch", "diffusers", "transformers", "mlflow"}


def test_status_names_a_training_that_waits(lineage: Any, cns: Any) -> None:
    from cns_cli.porcelain.learning.interrupted import pending_views
    from registry.pending import Pending

    facts = {
        "options": {"images": "/photos/tom"},
        "request": {"concepts": {}, "replaces": None},
        "done": 130,
        "total": 310,
    }
    Pending(lineage.repo.folder).save("tom", "ab", facts, b"")
    assert [view.name for view in pending_views(lineage.repo)] == ["tom"]
    result = cns("status")
    assert "the training of tom was interrupted at step 130 of 310\n" in result.stdout
    assert "  next: cns add tom --resume " in result.stderr
