"""Long histories beside git, and large models beside dense deltas: ratios of runs that take turns.

The same commits are written as a registry and as a git repository (`git fast-import`: packed, as git keeps what it was
sent), and whole processes are timed, ours with Python's start. Deltas are synthetic, in the shapes of Stable Diffusion
1.5. Of runs that take turns the least counts, by the clock and in processor time: others may use the machine too.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks import shell, synthetic_registry
from benchmarks.report import Cell, Report, Table
from cns import codec
from cns.compose import ConceptWeights, Model
from registry.dag import needed_first
from registry.repository import Repository
from tests.torture.brokenmlflow_outside import server_in

BRANCH = 5_000  # commits
LINE = 10_000
START_BAR_MS = 150
GIT = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "init.defaultBranch=main"]
MERGE_BASE = """\
import time
from pathlib import Path
from registry.dag import merge_bases
from registry.repository import Repository
from tests.torture.brokenmlflow_outside import server_in
repo = Repository.discover(Path.cwd())
tips = [repo.resolve(name) for name in ("left", "right")]
start, spent = time.perf_counter(), time.process_time()
found = merge_bases(*tips, repo.index.parents)
print(1000 * (time.perf_counter() - start), 1000 * (time.process_time() - spent), *found)
"""
OUTPUTS = (320,) * 5 + (640,) * 5 + (1280,) * 6
"""Rows of each key (and value) matrix of Stable Diffusion 1.5; a text feature has `FEATURES` numbers."""
FEATURES = 768
DENSITY = 0.058  # of K/V, 0.13 % of the denoiser
CLONED_BYTES = 1_500_000  # of a mask, and of its delta: about a concept of Stable Diffusion 1.5
DISTINCT = 20  # deltas in memory; two hundred concepts take each of them ten times
COMPOSED = ((20, 1.0), (200, 8.0))
"""Concepts, and the bar: times the dense way with as many additions."""
Row = list[Cell]
Spent = tuple[float, float]
"""Milliseconds of a clock, and of processors: of this process and of those that it waited for."""


def run(quick: bool) -> Report:
    """Measure in temporary folders; `quick` has short histories and small matrices."""
    torch.set_num_threads(1)  # what adds integers uses one thread; so do the dense additions beside it
    rows: list[Row] = []
    figures: dict[str, Cell] = {}
    with tempfile.TemporaryDirectory() as name:
        rows += histories(Path(name), LINE // 100 if quick else LINE, 2 if quick else 7, figures)
    with tempfile.TemporaryDirectory() as name:
        rows += branches(Path(name), BRANCH // 100 if quick else BRANCH, 2 if quick else 7, figures)
    with tempfile.TemporaryDirectory() as name:
        rows += clones(Path(name), 2 if quick else 100, 1 if quick else 2, figures)
    with tempfile.TemporaryDirectory() as name:
        rows += composing(Path(name), 16 if quick else 1, 1 if quick else 3, figures)
    note = (
        "Least of a few runs that take turns. Other work shared the machine: that stretches long runs more than short "
        "ones, and processor time says more. Whole processes, ours with Python's start; the index and the file "
        "cache are warm. *Alone*: the function in our process, beside git's process. A clone checks and syncs each "
        "object to disk, which curl does not; from the server, its time holds MLflow's client. Concepts change "
        f"{DENSITY:.1%} of K/V each, and both ways of composing read the base from a file."
    )
    columns = ["what", "ours", "beside", "ratio", "of processor time", "bar"]
    return Report("scale", [Table("At scale", columns, rows, note)], ["python -m benchmarks scale"], figures)


def histories(folder: Path, commits: int, repeats: int, figures: dict[str, Cell]) -> Iterator[Row]:
    """A long line of commits: its log and its status, the latter beside those of a short one."""
    ours, theirs, short = folder / "ours", folder / "git", folder / "short"
    synthetic_registry.make_long(short, commits // 100)
    as_git(synthetic_registry.make_long(ours, commits), ["main"], theirs)
    for line in ("cns log -n 20", "cns status"):
        found = alternating(repeats, partial(shell.cns, line, ours), partial(shell.cns, line, short))
        yield _row(f"`{line}` of {commits:,} commits, beside {commits // 100}", found, figures, f"{START_BAR_MS} ms")
    every = alternating(
        repeats,
        partial(shell.cns, "cns log --oneline", ours),
        partial(shell.program, ["git", "log", "--oneline"], theirs),
    )
    yield _row(f"`cns log --oneline`, all {commits:,}, beside git", every, figures, "6 x")


def branches(folder: Path, commits: int, repeats: int, figures: dict[str, Cell]) -> Iterator[Row]:
    """Two branches that left the first commit long ago: their merge base."""
    ours, theirs = folder / "ours", folder / "git"
    repository = synthetic_registry.make_branches(ours, {"left": commits, "right": commits})
    repository.index.refresh(as_git(repository, ["left", "right"], theirs))
    alone: list[Spent] = []

    def base() -> None:
        ran = shell.program([sys.executable, "-c", MERGE_BASE], ours)
        elapsed, processor, *found = ran.stdout.split()
        assert found == [repository.resolve("left~" + str(commits))], ran.stderr
        alone.append((float(elapsed), float(processor)))

    both = alternating(repeats, base, partial(shell.program, ["git", "merge-base", "left", "right"], theirs))
    what = f"merge base of two branches of {commits:,}, beside git"
    yield _row(what, both, figures, "3 x")
    yield _row(f"{what}: alone", [_least(alone), both[1]], figures, "")


def as_git(repository: Repository, names: Sequence[str], folder: Path) -> list[str]:
    """Write what some branches reach as a git repository, the same parents, messages and times; return their tips."""
    tips = {name: repository.resolve(name) for name in names}
    marks: dict[str, int] = {}
    lines: list[str] = []
    for one in needed_first(tips.values(), lambda current: repository.index.commit(current).parents):
        commit, marks[one] = repository.index.commit(one), len(marks) + 1
        lines += ["commit refs/heads/scratch", f"mark :{marks[one]}"]
        lines += [f"committer bench <bench@localhost> {commit.time} +0000"]
        lines += [f"data {len(commit.message.encode())}", commit.message]
        lines += [f"{('merge' if place else 'from')} :{marks[parent]}" for place, parent in enumerate(commit.parents)]
    for branch, tip in tips.items():
        lines += [f"reset refs/heads/{branch}", f"from :{marks[tip]}", ""]
    folder.mkdir()
    text = "\n".join([*lines, ""])
    subprocess.run([*GIT, "init", "--quiet"], cwd=folder, check=True)
    subprocess.run([*GIT, "fast-import", "--quiet", "--force"], cwd=folder, input=text, text=True, check=True)
    return list(tips.values())


def composing(folder: Path, shrink: int, repeats: int, figures: dict[str, Cell]) -> Iterator[Row]:
    """Many concepts on one base, beside as many dense additions."""
    dice = np.random.default_rng(0)
    model = sd_model(shrink)
    file = folder / "base.safetensors"
    save_file(model.base, file)
    concepts = [sparse_concept(model, dice) for _ in range(DISTINCT)]
    dense = {name: torch.full_like(weight, 1e-4) for name, weight in model.base.items()}

    def ours(count: int) -> None:
        model.base = load_file(file)
        model.compose([concepts[place % DISTINCT] for place in range(count)])

    def theirs(count: int) -> None:
        weights = load_file(file)
        for _ in range(count):
            for name, weight in weights.items():
                weight += dense[name]

    for count, bar in COMPOSED:
        found = alternating(repeats, partial(ours, count), partial(theirs, count))
        yield _row(
            f"{count} concepts composed on {model.kv_size / 1e6:.1f} M K/V weights, beside dense deltas",
            found,
            figures,
            f"{bar:g} x",
        )


def clones(folder: Path, concepts: int, repeats: int, figures: dict[str, Cell]) -> Iterator[Row]:
    """A lineage of large deltas from a server and from a folder, beside one curl of its packs."""
    registry = folder / "registry"
    repository = synthetic_registry.new_repository(registry)
    for number in range(1, concepts + 1):
        prepared = synthetic_registry.put_concept(repository, number, CLONED_BYTES)
        synthetic_registry.commit(repository, number, prepared)
    server, remote = folder / "server", folder / "remote"
    server.mkdir()
    with server_in(server) as (uri, _):
        places = {
            "server": (f"{uri}#studio", f"{uri}/api/2.0/mlflow-artifacts/artifacts", server / "files"),
            "folder": (remote.as_uri(), remote.as_uri(), remote),
        }
        for name, (address, url, files) in places.items():
            shell.cns(f"cns remote add {name} {address}", registry)
            shell.cns(f"cns push {name}", registry)
            packs = list(files.rglob("*.pack"))
            curl = ["curl", "--silent", "--fail", "--remote-name-all", "--output-dir", str(folder)]
            curl += [f"{url}/{pack.relative_to(files).as_posix()}" for pack in packs]
            ours = partial(_clone_once, address, folder)
            found = alternating(repeats, ours, partial(subprocess.run, curl, check=True))
            size = sum(pack.stat().st_size for pack in packs) / 2**20
            yield _row(f"clone of {size:.0f} MiB from a {name}, beside curl", found, figures, "2 x")


def _clone_once(address: str, folder: Path) -> None:
    shell.cns(f"cns clone {address} clone", folder)
    shutil.rmtree(folder / "clone")


def sd_model(shrink: int) -> Model:
    """A model of nothing but key and value matrices, in the shapes of Stable Diffusion 1.5."""
    blocks = torch.nn.ModuleList()
    for rows in OUTPUTS:
        parts = {part: torch.nn.Linear(FEATURES // shrink, rows // shrink, bias=False) for part in ("to_k", "to_v")}
        blocks.append(torch.nn.ModuleDict({"attn2": torch.nn.ModuleDict(parts)}))
    pipeline = SimpleNamespace(unet=blocks)
    names = [f"{name}.weight" for name, _ in blocks.named_modules() if name.endswith(("to_k", "to_v"))]
    return Model(pipeline, dict.fromkeys(names, -16))


def sparse_concept(model: Model, dice: np.random.Generator) -> ConceptWeights:
    """A made-up concept: its share of each matrix, at random places, by random steps."""
    delta = {}
    for name, weight in model.base.items():
        places = np.flatnonzero(dice.random(weight.numel()) < DENSITY)
        steps = dice.integers(-300, 300, places.size).astype(np.int16)
        delta[name] = codec.SparseDelta((weight.shape[0], weight.shape[1]), places, steps, model.exponents[name])
    return ConceptWeights("made-up", "dog", {}, delta)


def alternating(repeats: int, *actions: Callable[[], object]) -> list[Spent]:
    """The least of what each action took. They take turns; the first one is left out."""
    turns = [[_spent_by(action) for action in actions] for _ in range(repeats + 1)][1:]
    return [_least(column) for column in zip(*turns, strict=True)]


def _spent_by(action: Callable[[], object]) -> Spent:
    start, busy = time.perf_counter(), _processor_s()
    action()
    return 1000 * (time.perf_counter() - start), 1000 * (_processor_s() - busy)


def _processor_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _least(turns: Sequence[Spent]) -> Spent:
    return min(elapsed for elapsed, _ in turns), min(processor for _, processor in turns)


def _row(what: str, found: Sequence[Spent], figures: dict[str, Cell], bar: str) -> Row:
    (ours, ours_busy), (theirs, theirs_busy) = found
    ratio, busy = ours / theirs, ours_busy / theirs_busy
    figures |= {f"{what}: ours ms": ours, f"{what}: beside ms": theirs, f"{what}: ratio": ratio}
    figures |= {f"{what}: processor ratio": busy}
    row: Row = [what, f"{ours:.0f} ms", f"{theirs:.0f} ms", f"{ratio:.2f}", f"{busy:.2f}", bar]
    print(*row, flush=True)
    return row
