"""R7: every parser, fed what nobody wrote. Nothing but our own errors, in bounded time and memory.

A target takes bytes and parses them as one kind of input: an object file, canonical JSON, a commit, a config, a ref, a
mask. It may return or raise an error of ours; anything else is a find. Inputs are mutations of well-formed ones (so
that they get past the first check) and, in the full size, whatever atheris's coverage leads it to. The targets of the
registry load no torch and no numpy.

Full: atheris where it is installed, else as many structured mutations. `python -m tests.torture.fuzz TARGET RUNS SEED`
runs one target in a process of its own, whose memory and slowest input are measured.
"""

from __future__ import annotations

import importlib.util
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.torture.fuzz_targets import OURS, TARGETS, Target
from tests.torture.table import Size, Trial

QUICK_RUNS = 20_000
FULL_RUNS = 1_000_000
MAX_SECONDS = 5.0  # of CPU: the machine may be busy with something else
MAX_BYTES = 512 * 2**20
LONGEST = 4096
NUMBERS = (
    b"0",
    b"-1",
    b"1e999",
    b"1e308",
    b"18446744073709551616",
    b"9" * 5000,
    b"NaN",
    b"true",
    b"null",
    b"[]",
    b"{}",
)
PIECES = (
    b"",
    b"\x00",
    b"\n",
    b"\xff",
    b"\xed\xa0\x80",
    b"\\ud800",
    b'"',
    b"[" * 200,
    b'{"a":' * 100,
    b"../" * 20,
    b"\x1b[2J",
    "\u202e".encode(),
    b"a" * 300,
    b"%s%n",
    b"~" * 600,
    b"^" * 600,
    b"@{0}" * 100,
    b"\xff" * 64,
    b"\x00" * 64,
)


def mutated(seeds: list[bytes], rng: random.Random) -> bytes:
    """One input: a seed with one to eight changes of bytes, pieces, digits or a part of another seed."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        place = rng.randrange(len(data) + 1)
        kind = rng.randrange(8)
        if kind == 0 and data:
            data[place % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[place % len(data)] = rng.randrange(256)
        elif kind == 2:
            data[place:place] = rng.choice(PIECES)
        elif kind == 3:
            del data[place : place + rng.choice((1, 2, 8, 64))]
        elif kind == 4:
            del data[place:]
        elif kind == 5:
            _replace_a_number(data, rng)
        elif kind == 6:
            other = rng.choice(seeds)
            start = rng.randrange(len(other) + 1)
            data[place : place + rng.randrange(16)] = other[start : start + rng.randrange(64)]
        else:
            data[place:place] = data[place : place + rng.randrange(128)] * rng.randrange(1, 4)
    return bytes(data[:LONGEST])


def _replace_a_number(data: bytearray, rng: random.Random) -> None:
    places = [place for place, byte in enumerate(data) if 48 <= byte <= 57]
    if places:
        start = end = rng.choice(places)
        while end < len(data) and 48 <= data[end] <= 57:
            end += 1
        data[start:end] = rng.choice(NUMBERS)


def attempt(target: Target, data: bytes) -> str | None:
    """Run one input; return what is wrong: an error that is not ours, or how long it took."""
    began = time.process_time()
    try:
        target.parse(data)
    except OURS:
        pass
    except BaseException as error:  # noqa: BLE001  every error that is not ours is what is looked for
        return f"{target.name}: {type(error).__name__}: {str(error)[:200]} on {data[:200]!r}"
    took = time.process_time() - began
    return f"{target.name}: {took:.1f} s on {data[:200]!r}" if took > MAX_SECONDS else None


def mutations(target: Target, runs: int, seed: int) -> Iterator[bytes]:
    """The crafted inputs of a target, then so many mutations."""
    yield from target.crafted()
    seeds = target.seeds()
    rng = random.Random(f"{target.name} {seed}")
    for _ in range(runs):
        data = mutated(seeds, rng)
        yield target.repaired(data) if rng.random() < 0.7 else data


class Tally:
    """What came of the inputs of one target in this process."""

    def __init__(self, target: Target) -> None:
        self.target = target
        target.seeds()  # what they are made with is imported before memory is measured
        self.before = _peak()
        self.tried = 0
        self.slowest = 0.0
        self.finds: list[str] = []

    def one(self, data: bytes) -> None:
        began = time.process_time()
        found = attempt(self.target, data)
        self.slowest = max(self.slowest, time.process_time() - began)
        self.tried += 1
        if found and len(self.finds) < 20:
            self.finds.append(found)

    def figures(self) -> dict[str, Any]:
        grown = _peak() - self.before
        over = [f"{self.target.name}: memory grew by {grown / 2**20:.0f} MB"] if grown > MAX_BYTES else []
        return {"tried": self.tried, "finds": self.finds + over, "slowest": self.slowest, "memory": grown}


def run_target(name: str, runs: int, seed: int) -> dict[str, Any]:
    """Run one target in this process and return its figures."""
    tally = Tally(TARGETS[name])
    for data in mutations(TARGETS[name], runs, seed):
        tally.one(data)
    return tally.figures()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_a_process(name: str, runs: int, seed: int, program: str = "fuzz") -> dict[str, Any]:
    """One target in a process of its own, so that its memory is its own."""
    words = [sys.executable, "-m", f"tests.torture.{program}", name, str(runs), str(seed)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(words, capture_output=True, text=True, cwd=root, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"tried"')]
    if not lines:
        why = (done.stderr.strip().splitlines() or [""])[-1]
        return {
            "tried": 0,
            "finds": [f"{name}: the process ended by {done.returncode}: {why}"],
            "slowest": 0,
            "memory": 0,
        }
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def has_atheris() -> bool:
    """True where atheris is installed."""
    return importlib.util.find_spec("atheris") is not None


def run(size: Size, targets: tuple[str, ...] = ()) -> list[Trial]:
    """Run every target: 20,000 mutations over all; or, full, a million inputs each, half of them led by coverage."""
    trials = []
    for name in targets or TARGETS:
        began = time.monotonic()
        if size == "quick":
            parts = [in_a_process(name, QUICK_RUNS // len(TARGETS) + 1, 0)]
        else:
            guided = "coverage_guided" if has_atheris() else "fuzz"
            parts = [in_a_process(name, FULL_RUNS // 2, 0), in_a_process(name, FULL_RUNS // 2, 1, guided)]
        finds = [find for part in parts for find in part["finds"]]
        slowest, memory = (max(part[key] for part in parts) for key in ("slowest", "memory"))
        note = "; ".join([f"slowest {slowest:.2f} s, memory +{memory / 2**20:.0f} MB", *finds[:3]])
        tried = sum(part["tried"] for part in parts)
        trials.append(Trial("R7", f"inputs of {name}", tried, 0, len(finds), note, time.monotonic() - began))
    return trials


def main(words: list[str]) -> None:
    """One target, its figures as a line of JSON."""
    print(json.dumps(run_target(words[0], int(words[1]), int(words[2]))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
