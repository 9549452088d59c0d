"""Harm at the k-th system call of a real process: by strace, and where that is not to be had, by a fork of ours.

`Traced.points` runs a command once and lists its calls that touch `.cns`; `Traced.inject` runs it again and harms one
of them by SIGKILL or by an error of the system. `dies_at` does the like inside a fork of this process: it needs no
tracer, and it can tear a write in two.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(__file__).with_name("operations.py")
CHANGES = (
    *("write", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "renameat", "renameat2"),
    *("unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "link", "linkat", "utimensat"),
)
KILLED = 137
PYTHON_CALLS = ("write", "fsync", "rename", "link", "mkdir", "unlink", "ftruncate", "utime")

_LINE = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) += (.*)")


@dataclass(frozen=True)
class Point:
    """The number-th use of a system call in a process, from 1, and what it was used on."""

    call: str
    number: int
    arguments: str


@functools.cache
def missing() -> str:
    """Return why no process can be traced here; empty where it can."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        return "strace is not installed"
    probe = ["strace", "-qq", "-o", os.devnull, "-e", "inject=chdir:error=EIO", sys.executable, "-S", "-I", "-c", "0"]
    done = subprocess.run(probe, capture_output=True, text=True)
    return "" if done.returncode == 0 else f"strace may not trace here: {done.stderr.strip()[:120]}"


def command_of(operation: str, folder: Path) -> list[str]:
    """Return the command of one operation of `operations.py` on a folder."""
    return isolated(PROGRAM, operation, folder)


def isolated(program: Path, *words: str | Path) -> list[str]:
    """Return the command of a program of this folder that starts fast, since it finds its modules by its first word."""
    search = os.pathsep.join([str(program.parents[2]), *sys.path])
    return [sys.executable, "-S", "-I", "-B", str(program), search, *map(str, words)]


class Traced:
    """A command under strace. `below` says which paths count."""

    def __init__(self, command: list[str], below: Path, cwd: Path | None = None) -> None:
        self.command, self.below, self.cwd = command, below, cwd

    def points(self, calls: tuple[str, ...] = CHANGES) -> list[Point]:
        """Run the command unharmed and return its calls that touch the folder."""
        _, log = self._run(f"trace={','.join(calls)}")
        counts: Counter[str] = Counter()
        found = []
        for call, arguments, _ in parsed(log):
            counts[call] += 1
            if str(self.below) in arguments:
                found.append(Point(call, counts[call], arguments))
        return found

    def inject(self, point: Point, harm: str, *, ever_after: bool = False, watch: tuple[str, ...] = ()) -> Ended:
        """Run the command and harm one call: "signal=KILL" before it is done, or "error=EIO" in its place.

        Args:
            point: Which call.
            harm: In strace's words.
            ever_after: Harm every later use of that call, too.
            watch: Further calls to log.
        """
        what = f"inject={point.call}:{harm}:when={point.number}{'+' if ever_after else ''}"
        done, log = self._run(f"trace={','.join({point.call, *watch})}", "-e", what)
        return Ended(done.returncode, done.stdout, done.stderr, log)

    def _run(self, trace: str, *more: str) -> tuple[subprocess.CompletedProcess[str], str]:
        with tempfile.NamedTemporaryFile("r", prefix="cns-strace-", errors="replace") as log:
            # No string of data is logged (-s 0): a path inside one would be taken for the path of the call.
            how = ["strace", "-f", "-qq", "-y", "-s", "0", "-o", log.name, "-e", trace, *more]
            done = subprocess.run([*how, *self.command], capture_output=True, text=True, cwd=self.cwd, timeout=120)
            return done, log.read()


@dataclass(frozen=True)
class Ended:
    """How a harmed process ended; `log` is strace's."""

    code: int
    out: str
    err: str
    log: str

    @property
    def killed(self) -> bool:
        """True where it was killed; strace ends as its child did."""
        return self.code in (KILLED, -9)


def parsed(log: str) -> list[tuple[str, str, str]]:
    """Return (call, arguments, result) of the lines of strace's log; a call that was cut off has the result "?"."""
    matches = (_LINE.match(line) for line in log.splitlines())
    return [(match.group(1), match.group(2), match.group(3)) for match in matches if match]


def spread(points: list[Point], count: int) -> list[Point]:
    """Return about count of the points, evenly apart, the last among them: what comes after it is acknowledged."""
    if len(points) <= count:
        return points
    return [points[round(place * (len(points) - 1) / (count - 1))] for place in range(count)]


def dies_at(step: int, torn: bool, operation: Callable[[], object]) -> bool:
    """Run an operation in a fork that dies before its step-th call, from 1; True where it did.

    Args:
        step: Of the calls that change files.
        torn: Where that call is a write, half of it is done.
        operation: What to run.
    """
    process = os.fork()
    if process == 0:
        code = 1
        try:
            _arm(step, torn)
            operation()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, KILLED), "the child failed by itself"
    return code == KILLED


def _arm(step: int, torn: bool) -> None:
    left = step

    def armed(call: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*args: object, **kwargs: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                if torn and call is write:
                    write(args[0], bytes(args[1])[: len(bytes(args[1])) // 2])  # type: ignore[arg-type]
                os._exit(KILLED)
            return call(*args, **kwargs)

        return wrapper

    write = os.write
    for name in PYTHON_CALLS:
        setattr(os, name, armed(getattr(os, name)))
