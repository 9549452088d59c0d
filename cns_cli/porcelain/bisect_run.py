"""`bisect run CMD`: a program answers. git's protocol: 0 is good, 125 cannot be tested, 1 to 127 is bad, more ends it.

The program runs in the current folder with HEAD at the commit in question. What it prints goes to stderr, so that
stdout holds the answer alone. Nothing is marked when it cannot be started, is killed, or asks to end the search.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from cns_cli.porcelain.bisect import Answer, BisectResult, mark, running, waiting_for
from cns_cli.porcelain.options import Request
from registry.errors import NoBisection
from registry.repository import Repository

SKIP = 125
LAST_BAD = 127
SHELL_FAILED = (126, 127)
"""What a shell answers when the program is not there or cannot be run: looks like "bad" and is not about the commit."""

STDERR = 2
Say = Callable[[str], None]


class RunAborted(NoBisection):
    """The program ended the search, or could not be run; `code` is its exit code, None where it did not start."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        self.code = code
        super().__init__(reason, "cns bisect log")


def run_program(request: Request, command: Sequence[str], say: Say) -> BisectResult:
    """Let a program answer until the first bad commit is found, or only skipped ones are left.

    Args:
        request: Where, who, when.
        command: The program and its arguments; no shell is in between.
        say: Told, for each commit, what it answered.

    Raises:
        NoBisection: none is running, or it still waits for its first good and bad commit.
        RunAborted: the program could not be run, was killed, or answered with 128 or more.
    """
    repo = Repository.discover(request.start)
    first = True
    while True:
        commit = waiting_for(repo, running(repo))
        code = _code(command, request.start)
        if first and code in SHELL_FAILED:
            _refuse_if_good_fails_alike(repo, request, command, code)
        first = False
        answer = answer_of(code)
        if answer is None:
            ended = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
            raise RunAborted(
                f"'{command[0]}' {ended} at {commit[:10]}: expected 0 (good), {SKIP} (skip) or 1 to {LAST_BAD} (bad); "
                "nothing was marked",
                code,
            )
        found = repo.commit_of(commit)
        say(f"{commit[:10]} {found.subject}: {answer} ({code})")
        result = mark(request, answer, [commit], about=commit)
        if result.status != "testing":
            return result


def answer_of(code: int) -> Answer | None:
    """What an exit code means; None ends the search."""
    if code == 0:
        return "good"
    if code == SKIP:
        return "skip"
    return "bad" if 0 < code <= LAST_BAD else None


def _code(command: Sequence[str], folder: Path) -> int:
    try:
        return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=STDERR, check=False).returncode
    except OSError as error:
        raise RunAborted(f"cannot run '{command[0]}': {error.strerror}; nothing was marked") from error


def _refuse_if_good_fails_alike(repo: Repository, request: Request, command: Sequence[str], code: int) -> None:
    """As git does: if the very first answer looks like a shell's "not found", ask about a commit known to be good.

    Raises:
        RunAborted: that one gets the same answer, so the program itself is at fault.
    """
    state = running(repo)
    try:
        repo.checkout(state.good[0], author=request.author, time=request.time)
        again = _code(command, request.start)
    finally:
        repo.checkout(state.expected or "HEAD", author=request.author, time=request.time)
    if again in SHELL_FAILED:
        raise RunAborted(
            f"'{command[0]}' ended with {code}, and with {again} at {state.good[0][:10]}, which is known to be good: "
            "expected a program that can be run; nothing was marked",
            code,
        )
