"""How long `cns check` takes: ten concepts, twenty prompts, two images of each, from nothing; and the second time.

And in two shards side by side, of one thread each, against one process of one thread.

The concepts are learned in a few steps: a check costs the same whatever they learned. The registry is made by the
commands, and both checks are commands in processes of their own.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import shell
from benchmarks.report import Cell, Report, Table
from benchmarks.trainer import CONCEPTS

NOUNS = ("dog", "cat", "frog", "penguin", "koala", "turtle", "guitar", "car", "rocket", "apple")
STEPS = 5
IMAGES = 2
BAR_S, AGAIN_BAR_S = 150, 0.5
SHARDS, SHARDS_BAR = 2, 0.6
MORE_PROMPTS = (
    "a small {} on the grass",
    "a small {} in the night sky",
    "a small {} on a red background",
    "a small {} on a wooden table",
    "a small {} on the beach",
    "a small {} on a blue background",
    "a small {} in the snow",
    "a small {} at sunset",
    "a small {} in front of a brick wall",
    "a small {} on a checkerboard",
)
"""Beside the base's own ten."""


def run(quick: bool) -> Report:
    """Make the registry, check it twice; `quick` has two concepts and one image."""
    from cns.families import EMOJI_64

    nouns, images = (NOUNS[:2], 1) if quick else (NOUNS, IMAGES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shell.cns("cns init --compose all", folder)  # where there is something to draw
        for noun in nouns:
            shutil.copytree(CONCEPTS / noun, folder / "pictures" / noun)
            shell.cns(f"cns add my{noun} pictures/{noun} --class {noun} --steps {STEPS}", folder)
        prompts = folder / "prompts.txt"
        prompts.write_text("\n".join((*EMOJI_64.objects.judge, *MORE_PROMPTS)) + "\n")
        line = f"cns check --prompts prompts.txt --images {images}"
        first = shell.cns(f"{line} --json", folder, expect=(0, 3))
        again = shell.cns(f"{line} --json", folder, expect=(0, 3))
        start = min(shell.cns("cns --version", folder).elapsed_s for _ in range(5))
        one = shell.cns(f"{line} --seed 1", folder, expect=(0, 3), threads=1)
        shards = f"{line} --seed 2 --shard"
        began = time.perf_counter()
        with ThreadPoolExecutor(SHARDS) as side_by_side:
            list(side_by_side.map(lambda part: shell.cns(part, folder, threads=1), _parts(shards)))
        ratio = (time.perf_counter() - began) / one.elapsed_s
    return _report(first, again, start, ratio, [line, line, *_parts(shards)])


def _parts(line: str) -> list[str]:
    """The command lines of all shards."""
    return [f"{line} {part}/{SHARDS}" for part in range(1, SHARDS + 1)]


def _report(first: shell.Ran, again: shell.Ran, start_s: float, sharded: float, lines: list[str]) -> Report:
    said = first.json
    rows: list[list[Cell]] = []
    for what, ran in (("first", first), ("again", again)):
        alone_s, made = ran.json["elapsed_s"], ran.json["images_made"]
        rows.append([what, f"{ran.elapsed_s:.1f} s", f"{alone_s:.2f} s", made, f"{ran.peak_bytes / 2**30:.2f} GiB"])
    shares: list[list[Cell]] = [
        [stage, f"{seconds:.1f} s", f"{seconds / first.elapsed_s:.0%}"] for stage, seconds in said["stages"].items()
    ]
    outside = first.elapsed_s - sum(said["stages"].values())
    shares.append(["imports and the rest", f"{outside:.1f} s", f"{outside / first.elapsed_s:.0%}"])
    concepts = len(said["rows"])
    note = (
        f"{concepts} concepts, {said['prompts']} prompts, {said['images']} images judged; bars: {BAR_S} s, and "
        f"{AGAIN_BAR_S} s besides start-up the second time. `cns --version` takes {start_s:.2f} s here. {SHARDS} "
        f"shards side by side, of one thread each, take {sharded:.2f} of the time of one such; bar: {SHARDS_BAR}."
    )
    figures: dict[str, Cell] = {
        "check s": first.elapsed_s,
        "again s": again.elapsed_s - start_s,
        "images made": said["images_made"],
        "shards / one": sharded,
        **{f"{stage} s": seconds for stage, seconds in said["stages"].items()},
    }
    tables = [
        Table("`cns check`", ["", "whole process", "the check alone", "images made", "memory"], rows, note),
        Table("Where the time goes", ["stage", "time", "share"], shares),
    ]
    return Report("check", tables, lines, figures)
