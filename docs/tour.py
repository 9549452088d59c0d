"""The tour of the README: real commands, run from an empty folder, with the output that they really print.

Cog calls `show` once a step, in the order of the README. All steps share one temporary folder that starts empty but for
the example photos, so a step sees what the earlier ones did. Ids, times and trained floats differ between machines:
`masked` replaces them, and a step whose new output equals the old one under the mask keeps the old text. So what the
README prints is real output, and it goes stale only when the tool prints something else.

The module knows no command's meaning: it runs a shell line and shows its stdout (stderr is progress and hints).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = "examples/concepts"
PLAIN = {
    "NO_COLOR": "1",
    "COLUMNS": "100",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "CNS_AUTHOR": "you",
}

CI_SERVER = ("CI", "BUILD_NUMBER", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")
"""Variables by which a program sees that a CI server runs it: pytest then says more, `cns check` writes annotations."""

# What may differ from run to run, most specific first: ids, dates, and every number with the space that aligns it.
_MASKS = (
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{7,64}\b"), "ID"),
    (re.compile(r"\b\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2})?( ?[+-]\d{4}|Z)?"), "TIME"),
    (re.compile(r"[-+]?\d+([.,]\d+)*(e[-+]?\d+)?"), "#"),
    (re.compile(r"\b(bytes|kB|KB|MB|GB|KiB|MiB|GiB|B)\b"), "SIZE"),
    (re.compile(r"[ \t]+|[─-]{2,}"), " "),
)


def masked(text: str) -> str:
    """Return text without what differs between two machines; only equality of the result means anything."""
    for pattern, stand_in in _MASKS:
        text = pattern.sub(stand_in, text)
    return "\n".join(line.strip() for line in text.splitlines())


def surroundings(**env: str) -> dict[str, str]:
    """Return the environment in which a page is followed: a reader's, whatever runs it."""
    return {name: value for name, value in os.environ.items() if name not in CI_SERVER} | PLAIN | env


class Tour:
    """A folder that starts with the example photos alone, and the commands run in it so far.

    Args:
        keep: Keep an old block that differs in numbers only.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._holder = tempfile.TemporaryDirectory(prefix="cns-tour-")
        self.folder = Path(self._holder.name)
        shutil.copytree(ROOT / EXAMPLES, self.folder / EXAMPLES)

    def run(self, line: str, *, expect: int = 0) -> str:
        """Run one `cns …` line in the tour's folder.

        Args:
            line: What a user would type.
            expect: The exit code it must end with.

        Returns:
            Its stdout, with the tour's folder shortened to `.`.

        Raises:
            SystemExit: Another exit code; the message carries stdout and stderr.
        """
        command = [sys.executable, "-m", "cns_cli", *shlex.split(line)[1:]]
        done = subprocess.run(command, cwd=self.folder, env=surroundings(), capture_output=True, text=True, check=False)
        if done.returncode != expect:
            raise SystemExit(f"tour: `{line}` ended with {done.returncode}, not {expect}\n{done.stdout}{done.stderr}")
        return done.stdout.replace(f"{self.folder.resolve()}/", "").replace(f"{self.folder}/", "").rstrip()

    def show(self, *lines: str, previous: str = "") -> str:
        """Run lines and return a Markdown console block, keeping `previous` when nothing but numbers changed."""
        shown = [f"$ {line}\n{self.run(line)}".rstrip() for line in lines]
        block = "```console\n" + "\n".join(shown) + "\n```\n"
        return previous if self._keep and masked(previous) == masked(block) else block


_tour: Tour | None = None


def the_tour() -> Tour:
    """Return the one tour of this process, started on first use."""
    global _tour
    if _tour is None:
        _tour = Tour()
    return _tour


def begin_anew() -> None:
    """Start another tour that keeps no old block: where one has changed, all of a page come from one run."""
    global _tour
    _tour = Tour(keep=False)
