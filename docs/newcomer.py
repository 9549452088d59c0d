"""The tutorials, followed word for word: who reads a page types its lines and writes its files, from an empty folder.

In a page of docs/tutorials every block of the language `console` is typed, line by line (`$ …`), and what comes is
compared with what the page shows below; a block with a title (toml title="pyproject.toml") is written to that file.
`cd` and `echo $?` are what they are in a shell; a line that fails must be followed by `echo $?` or end in `|| true`.

`python -m docs.generate --write docs/tutorials/PAGE.md` follows a page as it is, which takes minutes, writes down what
came and takes over its pictures. The tests follow all of them in few steps, and compare under the mask of the tour.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from docs.tour import ROOT, masked, surroundings

_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_PICTURE = re.compile(r"!\[[^\]]*\]\(\.\./images/([\w.]+)\)")

Program = Callable[[Sequence[str], Path], tuple[int, str]]
"""Runs `cns` with these arguments in a folder; returns exit code and stdout."""


def pages() -> list[Path]:
    """Return the tutorials."""
    return sorted((ROOT / "docs" / "tutorials").glob("*.md"))


def cns(words: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run `cns` as it is, in a process of its own."""
    return _started([sys.executable, "-m", "cns_cli", *words], folder)


class Newcomer:
    """Somebody with an empty folder, and the repository beside it.

    Args:
        home: The empty folder.
        program: What `cns` is.
        **env: Variables of the environment for all other programs.
    """

    def __init__(self, home: Path, program: Program = cns, **env: str) -> None:
        self.home, self.folder = home, home
        self._program, self._env = program, env
        self._code = 0
        (home / "cns").symlink_to(ROOT)

    def follow(self, page: str) -> str:
        """Do what a page says.

        Args:
            page: Its Markdown.

        Returns:
            The same with what really came below each line.

        Raises:
            SystemExit: A line failed, and the page does not say that it does.
        """
        return _BLOCK.sub(self._block, page)

    def _block(self, found: re.Match[str]) -> str:
        language, title, text = found.groups()
        if title:
            (self.folder / title).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / title).write_text(text, encoding="utf-8")
        if language != "console":
            return found[0]
        lines = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
        shown = [f"$ {line}\n{self._typed(line, lines[k + 1 : k + 2])}".rstrip() for k, line in enumerate(lines)]
        return "```console\n" + "\n".join(shown) + "\n```"

    def _typed(self, line: str, following: Sequence[str]) -> str:
        if line == "echo $?":
            return str(self._code)
        if line.startswith("cd "):
            self.folder = (self.folder / line.removeprefix("cd ")).resolve(strict=True)
            return ""
        self._code, said = self._run(line)
        if self._code and list(following) != ["echo $?"]:
            raise SystemExit(f"tutorial: `{line}` ended with {self._code}\n{said}")
        return said.replace(f"{self.folder.resolve()}/", "").replace(f"{self.home.resolve()}/", "../").rstrip()

    def _run(self, line: str) -> tuple[int, str]:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        if words[0] != "cns":
            return _started(["sh", "-c", line], self.folder, **self._env)
        forgiven = words[-2:] == ["||", "true"]
        words = words[1:-2] if forgiven else words[1:]
        target = words[-1] if words[-2:-1] == [">"] else None
        code, said = self._program(words[:-2] if target else words, self.folder)
        if target:
            (self.folder / target).write_text(said, encoding="utf-8")
        return 0 if forgiven else code, "" if target else said


def _started(command: Sequence[str], folder: Path, **env: str) -> tuple[int, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        command, cwd=folder, env=surroundings(PATH=path, **env), stdout=subprocess.PIPE, text=True, check=False
    )
    return done.returncode, done.stdout


def rewrite(page: Path) -> None:
    """Follow a page as it is; write down what came where more than numbers changed, and take over its pictures."""
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="cns-tutorial-") as home:
        came = Newcomer(Path(home)).follow(text)
        if masked(came) == masked(text):
            return
        page.write_text(came, encoding="utf-8")
        for name in _PICTURE.findall(text):
            (made,) = Path(home).glob(f"*/{name}")
            shutil.copy(made, ROOT / "docs" / "images" / name)
