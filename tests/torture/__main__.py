"""Run the torture suite and print what was tried and what was lost.

    python -m tests.torture [GOAL ...] [--size quick|full]

The table goes to stdout, the figures to docs/benchmarks/torture.json (other goals' rows stay there). The exit status is
1 where anything was lost or corrupt.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path

from tests.torture.table import Size, Trial

MODULES = {
    "R1": "sigkill",
    "R2": "kills",
    "R3": "powerloss",
    "R4": "fulldisk",
    "R5": "flips",
    "R6": "concurrency",
    "R7": "fuzz",
    "R8": "rebuild",
    "R9": "walks",
    "R10": "brokenmlflow",
    "R11": "gcraces",
    "R12": "images",
    "R13": "unicode",
    "R14": "audit",
    "R16": "graphs",
    "R17": "sharedlineage",
}
FURTHER = {"R1": "sharing", "R3": "sharing"}  # have `trials`, of what goes from one registry to another
FIGURES = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "torture.json"


def main(words: list[str]) -> int:
    """Run the goals that are named, or all, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__.splitlines()[0])
    parser.add_argument("goals", nargs="*", metavar="GOAL", help=f"of {', '.join(MODULES)}; all where none is named")
    parser.add_argument("--size", choices=("quick", "full"), default="quick", help="quick: seconds; full: a night")
    options = parser.parse_args(words)
    if unknown := sorted(set(options.goals) - MODULES.keys()):
        parser.error(f"no goal {unknown[0]}: expected one of {', '.join(MODULES)}")
    harmed = 0
    for goal in options.goals or MODULES:
        trials = run_goal(goal, options.size)
        for trial in trials:
            print(shown(trial), flush=True)
            harmed += trial.lost + trial.corrupt
        keep(goal, options.size, trials)
    print(f"\n{harmed or 'NOTHING'} lost or corrupt")
    return 1 if harmed else 0


def run_goal(goal: str, size: Size) -> list[Trial]:
    """Run one goal. A goal that has no module here is a row that says so."""
    name = f"tests.torture.{MODULES[goal]}"
    if importlib.util.find_spec(name) is None:
        return [Trial(goal, "not in this table", 0, 0, 0, "see the tests of the registry", 0.0)]
    trials: list[Trial] = importlib.import_module(name).run(size)
    if goal in FURTHER:
        trials += importlib.import_module(f"tests.torture.{FURTHER[goal]}").trials(goal, size)
    return trials


def shown(trial: Trial) -> str:
    """One line of the table."""
    counts = f"{trial.tried:>7,} tried {trial.lost:>3} lost {trial.corrupt:>3} corrupt {trial.seconds:>7.1f} s"
    return f"{trial.goal:<4} {trial.what:<58} {counts}  {trial.note}"


def keep(goal: str, size: Size, trials: list[Trial]) -> None:
    """Write the rows of a goal into the file of figures."""
    figures = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    figures[goal] = {"size": size, "trials": [dataclasses.asdict(trial) for trial in trials]}
    ordered = {name: figures[name] for name in MODULES if name in figures}
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
