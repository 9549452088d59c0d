"""R13: whatever a name, a message, a prompt, a path or a file says, a terminal is sent nothing that controls it.

Two kinds of trial, with texts of hypothesis that are heavy in control characters: the text is typed, as an argument or
option of every command; or the text is stored, in commits, concepts, records, reflogs and config.toml that came from
elsewhere, and every command that reads prints it. After each, stdout and stderr are looked at: no control character but
newlines and our own colour codes, nothing that turns text around, and never the exit code of a bug.

Commands that load torch are tried with few texts in processes of their own, on a terminal and without.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cns_cli.main import app
from cns_cli.output import STYLES
from registry import config
from registry.errors import RegistryError
from registry.objects import Commit, Concept, Record, References, Tree
from registry.repository import Repository
from tests.registry.making import add, new_repository
from tests.torture.table import Size, Trial

ROOT = Path(__file__).resolve().parents[2]
QUICK, FULL = 2_000, 200_000
BATCH = 500

OURS = re.compile("|".join(re.escape(f"\x1b[{code}m") for code in ("0", *STYLES.values())))
# What rich draws a progress bar with, on a terminal only: column 1, up a line, clear it, hide and show the cursor.
BAR = re.compile(r"\r|\x1b\[(?:1A|2K|\?25[lh]|[0-9;]*m)")
NOTHING = re.compile(r"(?!)")
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}

SPECIAL = (
    "\x1b[2J",
    "\x1b]0;owned\x07",
    "\x1b[31m",
    "\x9b31m",
    "\r",
    "\n",
    "\t",
    "\x08",
    "\x7f",
    "\u202e",
    "\u2066",
    "\u2028",
    "\u2029",
    "\u200f",
    "\ufeff",
    "\ud800",
    "\udcff",
    "[red]",
    "[/x]",
    "[link=x]",
    "%s",
    "{}",
    "'",
    '"',
    "$(x)",
    "-",
    "--",
    "/",
    "..",
    "\U000e0041",
    "👩‍🚀",
    "犬",
    "é",
    "<rex>",
    "HEAD",
    "::error::",
    "&",
    "<script>",
)
TEXT = st.lists(st.sampled_from(SPECIAL) | st.characters(exclude_characters="\0"), max_size=8).map("".join)
STORED = TEXT.map(lambda text: text.encode("utf-8", "ignore").decode("utf-8"))  # what canonical JSON can hold

# What a user may type, with T for the text.
TYPED: tuple[tuple[str, ...], ...] = (
    ("T",),
    ("--T",),
    ("log", "T"),
    ("log", "--T"),
    ("log", "-n", "T"),
    ("log", "--graph", "T..T"),
    ("diff", "T"),
    ("diff", "T...T"),
    ("diff", "HEAD", "T", "--images", "-o", "T.png"),
    ("blame", "T"),
    ("blame", "odd", "T"),
    ("show", "T"),
    ("show", "--preview", "T/x"),
    ("status", "T"),
    ("checkout", "T"),
    ("branch", "T"),
    ("branch", "T", "HEAD"),
    ("branch", "new", "T"),
    ("tag", "T"),
    ("tag", "t", "T"),
    ("rm", "T"),
    ("rm", "gone", "-m", "T"),
    ("init", "--base", "T"),
    ("add", "T", "."),
    ("add", "new", "T"),
    ("add", "new", ".", "--class", "T"),
    ("add", "new", ".", "--budget", "T"),
    ("add", "new", ".", "-m", "T"),
    ("mlflow", "T"),
    ("generate", "x", "-n", "T"),
    ("generate", "x", "-o", "T/x.png"),
    ("check", "--max-drop", "T"),
    ("check", "--metric", "T"),
    ("check", "--prompts", "T"),
    ("export", "--format", "T"),
    ("reflog", "T"),
    ("fsck", "T"),
    ("gc", "T"),
    ("gc", "--T"),
    ("doctor", "T"),
    ("config", "T"),
    ("config", "T", "T"),
    ("config", "--unset", "T"),
    ("config", "user.name", "T"),
    ("config", "check.prompts", "T"),
    ("report", "--T"),
    ("bisect", "T"),
    ("bisect", "start", "T", "T"),
)
READING: tuple[tuple[str, ...], ...] = (
    ("log",),
    ("log", "--json"),
    ("log", "--oneline"),
    ("log", "--graph"),
    ("log", "--graph", "--oneline"),
    ("diff", "HEAD~1"),
    ("diff", "HEAD~1", "--json"),
    ("blame", "odd"),
    ("blame", "odd", "--json"),
    ("show",),
    ("show", "--json"),
    ("show", "odd"),
    ("status",),
    ("status", "--json"),
    ("branch",),
    ("tag",),
    ("reflog",),
    ("fsck",),
    ("doctor",),
    ("config",),
    ("config", "--json"),
)


def harmful(text: str, allowed: re.Pattern[str] = OURS) -> list[str]:
    """The characters of an output that a terminal would act upon."""
    plain = allowed.sub("", text)
    return sorted(
        {
            f"U+{ord(char):04X}"
            for char in plain
            if char != "\n"
            and (unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(char) in TURNING)
        }
    )


def told(words: Sequence[str], code: int, out: str, err: str, allowed: re.Pattern[str] = OURS) -> list[str]:
    """What is wrong with what a command said."""
    wrong = [
        f"{found} on {name} of {list(words)!r}"
        for name, text in (("stdout", out), ("stderr", err))
        if (found := harmful(text, allowed))
    ]
    if code == 1:
        wrong.append(f"a bug on {list(words)!r}: {err[-600:]!r}")
    return wrong


def run_here(words: Sequence[str]) -> list[str]:
    """Run one command in this process, in the current folder."""
    done = CliRunner().invoke(app, list(words), prog_name="cns")
    return told(words, done.exit_code, done.stdout, done.stderr)


@contextlib.contextmanager
def registry() -> Iterator[Path]:
    """A registry in the current folder, whose config names no base that could be loaded; gone afterwards."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="cns-unicode-") as name:
        folder = Path(name) / "registry"
        folder.mkdir()
        repository = new_repository(folder)
        repository.set_config("mlflow.tracking_uri", "http://127.0.0.1:9")  # not trusted, so never asked
        repository.set_config("base.source", "/nowhere")
        add(repository, "rex")
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(here)


def store(folder: Path, text: str) -> None:
    """Put a text wherever a registry that came from elsewhere could have it, in a commit on top."""
    repository = Repository(folder)
    put, head = repository.objects.put, repository.head().commit
    tree = repository.tree_of(head)
    references = put(References(None, (text,), 1, 8, {text: put(Record({}))}))
    known = repository.objects.get(next(iter(tree.concepts.values())), Concept)
    token = text[:64] or "x"
    concept = put(
        Concept(
            "odd", text, (token,), known.embedding, known.mask, known.delta, {text: text}, references, known.trained_on
        )
    )
    data = {
        "params": {text: text, "lr": text},
        "metrics": {text: 1e300, "neurons": -1.0},
        "series": {text: [1.0, 2.0]},
        "drift": {text: 0.5},
        "overlap": {text: 0.5},
        "versions": {text: text},
        "device": text,
        "dtype": text,
        "seed": text,
        "captions": [text],
        "previews": {text: text},
        "gate": text,
    }
    made = Commit(
        put(Tree(tree.base, {"rex": tree.concepts["rex"], "odd": concept})),
        (head,),
        put(Record(data)),
        "add",
        text,
        text,
        0,
    )
    repository.move_ref("refs/heads/main", head, put(made), author=text, time=1, message=text)
    settings_now = config.with_value(repository.config, "user.name", text)
    config.save(
        folder / ".cns" / "config.toml", {**settings_now, "check": {"encoder": text}, text or "x": {text or "y": text}}
    )


def known_commands() -> set[str]:
    from cns_cli.main import VERBS

    return set(VERBS)


def typed(examples: int, number: int = 0) -> tuple[int, list[str]]:
    """Type so many texts, over all command lines; return how many were run, and what was wrong."""
    lines = [line for line in TYPED if line[0] in known_commands() or "T" in line[0]]
    wrong: list[str] = []
    count = 0

    @seed(number)
    @settings(max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(lines), TEXT)
    def trial(line: tuple[str, ...], text: str) -> None:
        nonlocal count
        count += 1
        if line[0] == "T" and text in known_commands():
            return
        wrong.extend(run_here([word.replace("T", text) for word in line]))

    with registry():
        trial()
    return count, wrong


def stored(examples: int, number: int = 0) -> tuple[int, list[str]]:
    """Store so many texts and read each by one command; return how many were run, and what was wrong."""
    lines = [line for line in READING if line[0] in known_commands()]
    wrong: list[str] = []
    count = 0

    with registry() as folder:
        start = {path.name: path.read_bytes() for path in (folder / ".cns" / "refs" / "heads").iterdir()}
        kept = (folder / ".cns" / "config.toml").read_bytes()

        @seed(number)
        @settings(
            max_examples=max(1, examples // len(lines)),
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(STORED)
        def trial(text: str) -> None:
            nonlocal count
            (folder / ".cns" / "config.toml").write_bytes(kept)
            for name, data in start.items():
                (folder / ".cns" / "refs" / "heads" / name).write_bytes(data)
            shutil.rmtree(folder / ".cns" / "logs")
            try:
                store(folder, text)
            except RegistryError:  # a text that cannot be stored at all, such as a reflog's author of 64 KB
                return
            for line in lines:
                count += 1
                wrong.extend(run_here(line))

        trial()
    return count, wrong


def in_processes() -> tuple[int, list[str]]:
    """Some texts in processes of their own: on a terminal, with and without colour, and into a pipe."""
    nasty = "\x1b[2J\x1b]0;x\x07\u202e\r\x9b31m[red]\ud800".encode("utf-8", "replace")
    wrong: list[str] = []
    count = 0
    with registry() as folder:
        store(folder, nasty.decode("utf-8"))
        for line in (
            ["log"],
            ["show"],
            ["status"],
            ["show", nasty],
            ["log", b"\xff\xfe\x1b[2J"],
            ["rm", nasty],
            ["branch", nasty],
        ):
            for terminal in (True, False):
                for variables in ({}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}):
                    code, out, err = _process(line, folder, variables, terminal)
                    count += 1
                    wrong += told([str(word) for word in line], code, out, err, BAR if terminal else NOTHING)
                    if variables.get("NO_COLOR") and re.search(r"\x1b\[[34]", out + err):
                        wrong.append(f"a colour code where none was wanted: {line}")
    return count, wrong


def _process(
    words: Sequence[str | bytes], folder: Path, variables: dict[str, str], terminal: bool
) -> tuple[int, str, str]:
    environment = {**os.environ, "TERM": "xterm", "CNS_PAGER": "", "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "cns_cli", *words]
    if not terminal:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
        return done.returncode, _text(done.stdout), _text(done.stderr)
    main_end, other_end = pty.openpty()
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=other_end, stderr=other_end, stdin=other_end
    ) as child:
        os.close(other_end)
        parts = []
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while part := os.read(main_end, 65536):
                parts.append(part)
        os.close(main_end)
        code = child.wait()
    return code, _text(b"".join(parts).replace(b"\r\n", b"\n")), ""  # the terminal's own \r before each newline


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def run(size: Size) -> list[Trial]:
    """Type and store texts, and look at what is printed."""
    trials = []
    total = QUICK if size == "quick" else FULL
    for what, how in (("texts typed", typed), ("texts stored", stored)):
        began = time.monotonic()
        tried, wrong, number = 0, list[str](), 0
        while tried < total // 2:
            count, found = how(min(BATCH * 4, total // 2 - tried + 20), number)
            tried, number = tried + count, number + 1
            wrong += found[: 20 - len(wrong)]
        trials.append(Trial("R13", what, tried, 0, len(wrong), "; ".join(wrong[:5]), time.monotonic() - began))
    began = time.monotonic()
    tried, wrong = in_processes()
    trials.append(
        Trial(
            "R13",
            "processes, on a terminal and not",
            tried,
            0,
            len(wrong),
            "; ".join(wrong[:5]),
            time.monotonic() - began,
        )
    )
    return trials
