"""Long answers on a real terminal go through the user's pager, as they come; nowhere else is a program started."""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cns_cli import settings
from cns_cli.settings import SettingsError
from registry.objects import Commit
from tests.cli.conftest import ROOT

PATIENCE_S = 60.0  # a loaded machine; nothing here waits that long unless it is broken
IN_A_TERMINAL = f"""
import fcntl, sys, termios
sys.path.insert(0, {str(ROOT)!r})
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C there is a signal
from cns_cli.start import main
main()
"""
FRAMED = 'echo "pager begins $*, LESS=$LESS"; cat; echo "pager ends"'


class Terminal:
    """One command in a terminal of its own, which has 80 columns."""

    def __init__(self, *words: str, folder: Path, program: str = IN_A_TERMINAL, **variables: str) -> None:
        self.master, end = os.openpty()
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *words], cwd=folder, start_new_session=True,
            stdin=end, stdout=end, stderr=end, env={"TERM": "xterm", "COLUMNS": "80", **kept, **variables},
        )  # fmt: skip
        os.close(end)
        self.shown = ""

    def read_until(self, text: str) -> None:
        """Read what is shown, up to a text."""
        while text not in self.shown:
            assert self._read(), f"{text!r} never came: {self.shown[-2000:]}"

    def finish(self) -> tuple[int, str]:
        """Wait for the end, and return exit code and all that was shown."""
        while self._read():
            pass
        os.close(self.master)
        return self.process.wait(PATIENCE_S), self.shown.replace("\r\n", "\n")

    def _read(self) -> bool:
        if not select.select([self.master], [], [], PATIENCE_S)[0]:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"nothing comes any more after {self.shown[-2000:]!r}")
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: nobody has the other end any more
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)


@pytest.fixture
def script(tmp_path: Path) -> Any:
    """Write a pager, a shell script, and return its path."""

    def write(body: str) -> str:
        path = tmp_path / "pager"
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    return write


@pytest.fixture
def shown(lineage: Any, tmp_path: Path) -> Any:
    """Run a command in a terminal, in the folder of a small registry, and return exit code and what was shown."""
    lineage.add("rex")

    def run(*words: str, **variables: str) -> tuple[int, str]:
        return Terminal(*words, folder=tmp_path, **variables).finish()

    return run


@pytest.mark.parametrize("words", [("log",), ("log", "--graph"), ("show", "rex"), ("diff", "HEAD~1")])
def test_long_answers_are_paged(words: tuple[str, ...], script: Any, shown: Any) -> None:
    code, text = shown(*words, PAGER=script(FRAMED))
    assert code == 0
    assert text.startswith("pager begins , LESS=FRX\n")
    assert text.endswith("pager ends\n")
    assert "rex" in text


def test_colour_reaches_the_pager_unless_nobody_wants_it(script: Any, shown: Any) -> None:
    assert "\x1b[33m" in shown("log", PAGER=script(FRAMED))[1]
    assert "\x1b" not in shown("log", PAGER=script(FRAMED), NO_COLOR="1")[1]


def test_cns_pager_comes_before_pager_and_takes_options(script: Any, shown: Any) -> None:
    text = shown("log", CNS_PAGER=f"{script(FRAMED)} -a 'b c'", PAGER="false", LESS="-i")[1]
    assert text.startswith("pager begins -a b c, LESS=-i\n")


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (("--no-pager", "log"), {}),
        (("log", "--no-pager"), {}),
        (("show", "--no-pager"), {}),
        (("log", "--json"), {}),
        (("status",), {}),
        (("log",), {"CNS_PAGER": ""}),
        (("log",), {"CNS_PAGER": "cat"}),
        (("log",), {"TERM": "dumb"}),
    ],
)
def test_no_pager_where_none_is_wanted(
    words: tuple[str, ...], variables: dict[str, str], script: Any, shown: Any
) -> None:
    code, text = shown(*words, **{"PAGER": script(FRAMED), **variables})
    assert code == 0
    assert "pager" not in text
    assert "main" in text or "rex" in text


def test_no_pager_in_a_pipe(lineage: Any, cns: Any, script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lineage.add("rex")
    monkeypatch.setenv("PAGER", script(FRAMED))
    assert cns("log").stdout.startswith("commit ")


def test_a_pager_that_is_not_installed_is_done_without(shown: Any) -> None:
    code, text = shown("log", PAGER="no-such-pager -x")
    assert code == 0
    assert text.startswith("\x1b[33mcommit ")
    assert "no-such-pager" not in text


def many_commits(lineage: Any) -> None:
    """Make a history of half a megabyte, more than any pipe holds."""
    put, repo = lineage.repo.objects.put, lineage.repo
    tip = root = repo.head().commit
    tree = repo.commit_of(root).tree
    for number in range(60):
        tip = put(Commit(tree, (tip,), None, "add", f"{number} " + "a long message " * 600, "ann", lineage.time))
    repo.move_ref("refs/heads/main", root, tip, author="ann", time=lineage.time, message="test")


def test_quitting_early_is_no_error(lineage: Any, script: Any, tmp_path: Path) -> None:
    many_commits(lineage)
    code, text = Terminal("log", folder=tmp_path, PAGER=script('read line; echo "$line"; echo enough')).finish()
    assert code == 0
    assert text.endswith("enough\n")
    assert text.count("\n") == 2


def test_the_first_page_is_there_before_the_rest_is_made(tmp_path: Path, script: Any, lineage: Any) -> None:
    """The answer waits, with less written than a pipe holds, for the pager to say that it has the first line."""
    os.mkfifo(tmp_path / "seen")
    program = (
        "import sys; from cns_cli.output import Output\n"
        "def lines():\n"
        "    yield 'first'\n"
        "    yield from ['filling ' * 100] * 40\n"
        "    open('seen').read()\n"
        "    yield 'last'\n"
        "Output(paged=True).answer((), lines())\n"
    )
    whole = IN_A_TERMINAL.replace("from cns_cli.start import main\nmain()", program)
    assert whole != IN_A_TERMINAL
    terminal = Terminal(program=whole, folder=tmp_path, PAGER=script("read line; echo $line > seen; tail -n 1"))
    assert terminal.finish() == (0, "last\n")


def test_ctrl_c_in_the_pager_is_the_pagers(lineage: Any, script: Any, tmp_path: Path) -> None:
    lineage.add("rex")
    body = "trap 'echo searching' INT; cat > /dev/null; echo ready; read a < /dev/tty; read a < /dev/tty; echo bye"
    terminal = Terminal("log", folder=tmp_path, PAGER=script(body))
    terminal.read_until("ready")
    os.write(terminal.master, b"\x03")
    terminal.read_until("searching")
    os.write(terminal.master, b"q\nq\n")
    code, text = terminal.finish()
    assert text.endswith("bye\n")
    assert code == 0


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_default_is_less_which_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CNS_PAGER", "PAGER", "TERM"):
        monkeypatch.delenv(variable, raising=False)
    assert settings.pager(FakeTerminal()) == ["less", "-FRX"]
    assert settings.pager(io.StringIO()) == []


def test_a_pager_that_cannot_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("CNS_PAGER", "less '")
    with pytest.raises(SettingsError, match="CNS_PAGER"):
        settings.pager(FakeTerminal())
