"""This build against an older one: the same commands by turns, each build in a registry that it makes itself.

Both run in this environment; the older one comes from the history of this repository, so that a clone is needed.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks import shell
from benchmarks.report import Report, Table
from benchmarks.trainer import CONCEPTS

ROOT = Path(__file__).resolve().parent.parent
OLDER = "113f34e"
NOUNS = ("dog", "cat", "frog", "penguin", "koala")
STEPS = 5
PROMPT = "a <mydog> dog on the beach"
ADD_BAR, CHECK_BAR, GENERATE_BAR = 0.5, 0.5, 0.6
BF16 = " --dtype bfloat16"
Row = tuple[str, list[float], list[float], float]
NUMBERS = itertools.count(1)
NOTE = (
    f"Against {OLDER}, of 28 November 2026, five concepts learned in few steps; one thread each. Median, least and "
    "largest of turns. *All acting*: all concepts act in every prompt, as in the older build; elsewhere prompts see "
    "what they name, the default, so that no concept can be forgotten by another and a check has nothing to draw. The "
    "older build draws in float32 alone."
)


@dataclass(frozen=True)
class Build:
    """A build in one registry of its own.

    Attributes:
        source: Its code.
        folder: The registry.
    """

    source: Path
    folder: Path

    def cns(self, line: str) -> shell.Ran:
        """Run a command of it in the registry."""
        return shell.cns(line, self.folder, expect=(0, 3), threads=1, source=self.source)

    def taught(self, init: str, nouns: Sequence[str]) -> Self:
        """Make the registry, with these concepts in a few steps: a check costs the same whatever they learned."""
        self.folder.mkdir()
        self.cns(init)
        for noun in nouns:
            self.cns(f"cns add my{noun} {CONCEPTS / noun} --class {noun} --steps {STEPS} --warmup {STEPS}")
        return self


Way = tuple[str, Build, str]


def run(quick: bool) -> Report:
    """Make the registries, then time by turns; `quick` has two concepts, one turn and few steps."""
    nouns, count, steps = (NOUNS[:2], 2, f" --steps {STEPS}") if quick else (NOUNS, 16, "")
    add = f"cns add rex{{turn}} {CONCEPTS / 'dog'} --class dog{steps}"
    check = "cns check --seed {turn}"
    generate = f'cns generate "{PROMPT}" -n {count} --seed {{turn}} -o {{turn}}.png'
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = _source(folder)
        none, fresh = (Build(*one).taught("cns init", ()) for one in ((source, folder / "1"), (ROOT, folder / "2")))
        old = Build(source, folder / "old").taught("cns init", nouns)
        named = Build(ROOT, folder / "named").taught("cns init", nouns)
        union = Build(ROOT, folder / "all").taught("cns init --compose all", nouns)
        drawn = [("`cns generate`", named, ""), ("`cns generate`, in bfloat16", named, BF16)]
        judged = [("`cns check`", named, ""), ("all acting", union, ""), ("all acting, in bfloat16", union, BF16)]
        rows = [
            *_ratios(1 if quick else 3, generate, old, drawn, GENERATE_BAR),
            *_ratios(1, check, old, judged, CHECK_BAR),
            *_ratios(1, add, none, [("`cns add`, the first ones", fresh, "")], ADD_BAR),
            *_ratios(1, add, old, [("`cns add`, after five", named, "")], ADD_BAR),
        ]
    cells = [[what, _spread(clock), _spread(cpu), str(bar)] for what, clock, cpu, bar in rows]
    table = Table(f"This build / {OLDER}", ["whole process", "by the clock", "processor time", "bar"], cells, NOTE)
    figures = {what: statistics.median(clock) for what, clock, *_ in rows}
    commands = [line.format(turn=0).replace(f"{ROOT}/", "") for line in (add, check, generate)]
    return Report("older", [table], commands, figures)


def _source(folder: Path) -> Path:
    """The older build's code."""
    source = folder / "source"
    source.mkdir()
    archive = subprocess.run(["git", "archive", OLDER], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-x"], cwd=source, input=archive, check=True)
    return source


def _ratios(turns: int, line: str, old: Build, ways: Sequence[Way], bar: float) -> Iterator[Row]:
    """Ratios of clock and of processor time, turn by turn.

    Args:
        turns: How often.
        line: For all; `{turn}` stands for a number that is new each time, so that nothing is there already.
        old: The older build.
        ways: Of this build.
        bar: Of all.
    """
    ran: dict[str, list[shell.Ran]] = {what: [] for what, *_ in ways}
    was: list[shell.Ran] = []
    for turn in itertools.islice(NUMBERS, turns):
        calls = [(was, old, ""), *((ran[what], build, more) for what, build, more in ways)]
        for kept, build, more in calls if turn % 2 else reversed(calls):
            kept.append(build.cns(line.format(turn=turn) + more))
    for what, own in ran.items():
        clock = [one.elapsed_s / before.elapsed_s for one, before in zip(own, was, strict=True)]
        yield what, clock, [one.cpu_s / before.cpu_s for one, before in zip(own, was, strict=True)], bar


def _spread(ratios: Sequence[float]) -> str:
    """Median, least and largest."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
