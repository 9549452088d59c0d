"""R2: `cns add` killed, terminated and interrupted at random moments of its whole run, on a tiny random base.

One registry a trial, a copy of one that holds a concept. A second concept is added and stopped, one to three times in
a row; after each stop everything is verified and what had been acknowledged must be there. Then the command is typed
that the program itself names, and must end in the very concept that an undisturbed run ends in. Most trials are forked
from a process that has loaded torch already; the cold ones are stopped while Python imports it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.errors import RegistryError
from registry.fsio import TEMPORARY
from registry.repository import Repository
from tests.steps import WARM_UP
from tests.torture.fork_server import ENVIRONMENT, ROOT, ForkServer
from tests.torture.table import Size, Trial
from tests.torture.verify import Broken, check_with_fsck, state_of

STOPS = {"quick": 10, "full": 100}
COLD = {"quick": 1, "full": 20}
COLD_S = 8.0  # what an import of everything takes on a busy machine
GENTLE = (signal.SIGINT, signal.SIGTERM)
ADD = [
    *("add", "tom", "../photos", "--class", "cat", "--warmup", str(WARM_UP), "--steps", "4", "--score", "wanda"),
    "--json",
]
"""Says its warm-up itself, so that a process that was not forked makes the same concept."""

NAME = "tom"


@dataclass
class Tally:
    """What was seen.

    Attributes:
        lost: What had been acknowledged and was gone, or a next command that did not work.
        corrupt: What was neither as before nor as after, or was left half-made.
        seen: How often each kind of stop met each state.
    """

    lost: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Scene:
    """What every trial begins from.

    Attributes:
        folder: Holds the base and the photos.
        template: A copy of the registry with one concept.
        place: Where that registry was made, and where its copies go: MLflow keeps absolute paths.
        expected: Id of the concept that an undisturbed `ADD` makes.
        seconds: How long that takes.
    """

    folder: Path
    template: Path
    place: Path
    expected: str
    seconds: float


def run(size: Size) -> list[Trial]:
    """Stop `cns add` at random moments, warm and cold."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cns-kills-") as folder, ForkServer() as server:
        scene = make_scene(Path(folder), server)
        warm = stopped_at_random(scene, server, STOPS[size], seed=0)
        between = time.monotonic()
        cold = stopped_in_imports(scene, COLD[size], seed=0)
        end = time.monotonic()
    return [
        _row("cns add stopped at random: KILL, TERM, INT, INT twice", STOPS[size], warm, between - began),
        _row("cns add stopped while Python imports torch: TERM, INT", COLD[size], cold, end - between),
    ]


def make_scene(folder: Path, server: ForkServer) -> Scene:
    """Make base, photos and the registry, and find out what an undisturbed run ends in."""
    from tests.porcelain.conftest import write_photos
    from tests.tiny import tiny_sd

    base = tiny_sd(folder / "base")
    write_photos(folder / "photos", 1)
    template, place = folder / "template", folder / "trial"
    place.mkdir()
    _must(server.run(["init", "--base", str(base)], place))
    _must(server.run(["add", "rex", "../photos", "--class", "dog", "--steps", "2", "--score", "wanda"], place))
    shutil.copytree(place, template)
    done = _must(server.run(ADD, place))
    expected = _concept(place) or ""
    shutil.rmtree(place)
    return Scene(folder, template, place, expected, done["seconds"])


def stopped_at_random(scene: Scene, server: ForkServer, stops: int, seed: int) -> Tally:
    """Stop warm runs so many times in all, one to three in a row, and finish each by the command that was named."""
    chance, tally, left = random.Random(seed), Tally(), stops
    while left:
        place = scene.place
        shutil.copytree(scene.template, place)
        words, hard = ADD, False
        for _ in range(min(left, chance.choice((1, 2, 3)))):
            left -= 1
            kills = _kills(chance, scene.seconds)
            answer = server.run(words, place, kills)
            hard = hard or kills[0][1] == signal.SIGKILL
            look(scene, place, kills, answer, tally, clean=not hard)
            words = next_words(place)
            if _concept(place):
                break
        finish(scene, server, place, words, tally, more=left % 10 == 0)
        shutil.rmtree(place)
    return tally


def stopped_in_imports(scene: Scene, trials: int, seed: int) -> Tally:
    """Start real processes and stop them while they import: no traceback, nothing written, the right exit code."""
    chance, tally = random.Random(seed), Tally()
    place = scene.place
    shutil.copytree(scene.template, place)
    before = state_of(Repository(place))
    for _ in range(trials):
        number = chance.choice(GENTLE)
        child = subprocess.Popen(
            [sys.executable, "-m", "cns_cli", *ADD],
            cwd=place,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(0.15 + chance.random() * COLD_S)  # not while the interpreter itself starts
        child.send_signal(number)
        out, err = child.communicate(timeout=300)
        answer = {"code": child.returncode, "stdout": out, "stderr": err}
        look(scene, place, [(0.0, number)], answer, tally, clean=True)
        if _concept(place) is None and state_of(Repository(place)) != before:
            tally.corrupt.append("a stop during the imports changed the registry")
        if _concept(place):
            shutil.rmtree(place)
            shutil.copytree(scene.template, place)
    shutil.rmtree(place)
    return tally


def look(
    scene: Scene,
    place: Path,
    kills: list[tuple[float, int]],
    answer: dict[str, Any],
    tally: Tally,
    *,
    clean: bool,
) -> None:
    """Verify a registry after one stop, and what the stopped process said; `clean`: no SIGKILL came before."""
    number, code = kills[0][1], answer["code"]
    gentle = number in GENTLE
    try:
        repository = Repository(place)
        state_of(repository)
        check_with_fsck(repository)
    except (Broken, RegistryError) as error:
        tally.corrupt.append(f"{signal.Signals(number).name}: {error}")
    committed = _concept(place)
    where = "committed" if committed else "kept" if _states(place) else "nothing yet"
    tally.seen[f"{signal.Signals(number).name[3:]}{' twice' if len(kills) > 1 else ''}: {where}"] += 1
    if committed not in (None, scene.expected):
        tally.corrupt.append("another concept than the undisturbed run's was committed")
    acknowledged = code == 0 or "is committed as" in answer["stderr"]
    if acknowledged and not committed:
        tally.lost.append(f"{answer['stderr'][-300:]}: and there is no commit")
    if not gentle:
        return
    if code not in (0, 128 + number, -number):
        tally.corrupt.append(f"{signal.Signals(number).name} ended with {code}: {answer['stderr'][-600:]}")
    if "Traceback" in answer["stderr"] or "Exception ignored" in answer["stderr"]:
        tally.corrupt.append(f"{signal.Signals(number).name}: {answer['stderr'][-900:]}")
    if code == 128 + number and "try: cns " not in answer["stderr"] and "run the command again" not in answer["stderr"]:
        tally.corrupt.append(f"no next command: {answer['stderr'][-300:]}")
    if clean and (left := _temporaries(place)):
        tally.corrupt.append(f"left behind: {left}")
    if clean and (running := _running(place)):
        tally.corrupt.append(f"{running} MLflow runs say that they are running")


def next_words(place: Path) -> list[str]:
    """What a user types next: what `cns status` names, or the same command again."""
    return ["add", "--resume", "--json"] if _states(place) else ADD


def finish(scene: Scene, server: ForkServer, place: Path, words: list[str], tally: Tally, *, more: bool) -> None:
    """Add the concept to its end, and look at what is left then; `more`: add one more on top."""
    if not _concept(place):
        answer = server.run(words, place)
        if answer["code"] != 0:
            tally.lost.append(f"`cns {' '.join(words)}` ended with {answer['code']}: {answer['stderr'][-600:]}")
        elif _concept(place) != scene.expected:
            tally.corrupt.append(f"`cns {' '.join(words)}` ended in another concept than the undisturbed run")
    elif _states(place):  # killed between the commit and its clean-up: nothing is offered, and nothing is in the way
        answer = server.run(["status", "--json"], place)
        if json.loads(answer["stdout"])["interrupted"]:
            tally.corrupt.append("a committed training is offered to be resumed")
    if not more:
        return
    answer = server.run(["add", "mug", "../photos", "--class", "cup", "--steps", "1", "--score", "wanda"], place)
    if answer["code"] != 0:
        tally.lost.append(f"the next add ended with {answer['code']}: {answer['stderr'][-600:]}")
    if stale := [file for file in _temporaries(place) if file.startswith("resume/")]:
        tally.corrupt.append(f"left behind: {stale}")


def _kills(chance: random.Random, seconds: float) -> list[tuple[float, int]]:
    after = chance.random() * 1.05 * seconds
    number = chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGINT))
    if number == signal.SIGINT and chance.random() < 0.4:
        return [(after, number), (after + chance.random() * 0.1, number)]
    return [(after, number)]


def _row(what: str, tried: int, tally: Tally, seconds: float) -> Trial:
    note = ", ".join(f"{state} {count}" for state, count in sorted(tally.seen.items()))
    faults = "; ".join([*tally.lost, *tally.corrupt])
    return Trial("R2", what, tried, len(tally.lost), len(tally.corrupt), (faults or note)[:2000], seconds)


def _must(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["code"] == 0, answer["stderr"]
    return answer


def _concept(place: Path) -> str | None:
    return Repository(place).tree_of("HEAD").concepts.get(NAME)


def _states(place: Path) -> list[str]:
    folder = place / ".cns" / "resume"
    return [path.name for path in folder.glob("*.state")]


def _temporaries(place: Path) -> list[str]:
    folder = place / ".cns"
    return [str(path.relative_to(folder)) for path in folder.rglob(f"{TEMPORARY}*")]


def _running(place: Path) -> int:
    """Runs of MLflow that were left open."""
    database = place / ".cns" / "mlflow.db"
    if not database.exists() or not database.stat().st_size:  # about to be made anew, for a folder that has moved
        return 0
    with contextlib.closing(sqlite3.connect(database)) as connection:  # to be written to: a kill leaves a hot journal
        (count,) = connection.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING'").fetchone()
    return int(count)
