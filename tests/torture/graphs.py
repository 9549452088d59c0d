"""R16: questions about histories, asked of a registry and of git, which must answer alike.

A random history is written as commits of a registry and, the same shape with the same times, as a git repository. It
has several roots, criss-crosses and octopus merges, and its clocks go as they should, stand still or lie. Then both say
which commits are merge bases (of two, of several), which are independent, who is whose ancestor, and what is in
`A..B` and `A...B`. A commit is known by its number: the order in which it was made.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry import dag, revisions
from registry.index import Index
from registry.objects import Commit
from registry.reflog import ReflogEntry
from registry.refs import Head, Refs
from tests.registry.making import AUTHOR, DIGEST, MemoryStore
from tests.torture.scratch import scratch_folder
from tests.torture.table import Size, Trial

GRAPHS: dict[Size, int] = {"quick": 80, "full": 5_000}
AT_ONCE = 250  # graphs in one git repository: it is made by one process
QUESTIONS = 1  # of each kind, a graph
NOON = 1_700_000_000
Parents = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class Graph:
    """A random history: of each commit its parents, which have lower numbers, and its time."""

    parents: Parents
    times: Sequence[int]


def random_graph(chance: random.Random) -> Graph:
    """Draw a history of 2 to 40 commits."""
    size = chance.randint(2, 40)
    width = chance.choice((2, 3, 4, 40))  # parents are among so many that came last,
    layered = chance.random() < 0.5  # or among the layer before, so that branches criss-cross
    merges, roots = chance.random() ** 0.3, chance.choice((0.0, 0.0, 0.1))
    parents: list[tuple[int, ...]] = [()]
    for number in range(1, size):
        end = max(1, number - number % width) if layered else number
        recent = range(max(0, end - width), end)
        count = 0 if chance.random() < roots else 1
        if count and chance.random() < merges:
            count = chance.choice((2, 2, 2, 3, 4))
        parents.append(tuple(chance.sample(recent, min(count, len(recent)))))
    clock = chance.choice(("right", "equal", "random", "backwards"))
    times = {
        "right": [60 * number for number in range(size)],
        "equal": [0] * size,
        "random": [chance.randrange(100) for _ in range(size)],
        "backwards": [60 * (size - number) for number in range(size)],
    }
    return Graph(parents, [NOON + after for after in times[clock]])


class Stored:
    """A graph as commits of a registry: what `registry.revisions` needs to look them up by id."""

    def __init__(self, graph: Graph, folder: Path) -> None:
        self.objects = MemoryStore()
        self.refs = Refs(folder)
        self.index = Index(folder / "index.db", self.objects)
        self.ids: list[str] = []
        for number, (parents, moment) in enumerate(zip(graph.parents, graph.times, strict=True)):
            ids = tuple(self.ids[parent] for parent in parents)
            commit = Commit(DIGEST, ids, None, "add", str(number), AUTHOR, moment)
            self.ids.append(self.objects.put(commit))

    def head(self) -> Head:
        """See Source."""
        return Head(None, self.ids[-1])

    def reflog(self, ref: str = "HEAD") -> list[ReflogEntry]:
        """See Source."""
        return []

    def answer(self, question: tuple[str, ...], commits: Sequence[int]) -> set[int]:
        """Answer by the numbers of commits; a yes is {1}."""
        ids, parents = [self.ids[number] for number in commits], self.index.parents
        match question[0]:
            case "--all":
                found = dag.merge_bases(ids[0], ids[1], parents)
            case "--octopus":
                found = dag.octopus_bases(ids, parents)
            case "--independent":
                found = dag.independent(ids, parents)
            case "--is-ancestor":
                return {1} if dag.is_ancestor(ids[0], ids[1], parents) else set()
            case dots:
                found = [one for one, _ in self.index.log(*revisions.commits_of(self, dots.join(ids)))]
        assert len(found) == len(set(found))
        numbers = {one: number for number, one in enumerate(self.ids)}
        return {numbers[one] for one in found}


class Git:
    """Some graphs as one git repository: a commit is the mark that it was imported under."""

    def __init__(self, folder: Path, graphs: Sequence[Graph]) -> None:
        self.folder = folder
        self.run("init", "--quiet", "--bare", ".")
        self.starts: list[int] = []
        stream, first = [], 1
        for number, graph in enumerate(graphs):
            self.starts.append(first)
            stream += _imported(graph, first, f"refs/heads/g{number}")
            first += len(graph.parents)
        marks = folder / "marks"
        self.run("fast-import", "--quiet", "--force", f"--export-marks={marks}", said="".join(stream))
        rows = (line.split() for line in marks.read_text("ascii").splitlines())
        self.ids = {int(mark[1:]): commit for mark, commit in rows}
        # Without it git goes by clocks, and where they lie `rev-list A..B` lists what A reaches.
        self.run("commit-graph", "write", "--stdin-commits", said="".join(f"{one}\n" for one in self.ids.values()))
        self.numbers = {commit: mark for mark, commit in self.ids.items()}

    def run(self, *words: str, said: str = "", codes: tuple[int, ...] = (0,)) -> tuple[int, str]:
        """Run git here, and return its exit code and what it wrote."""
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *words], input=said, capture_output=True, text=True, cwd=self.folder, env=environment, check=False
        )
        assert done.returncode in codes, done.stderr
        return done.returncode, done.stdout

    def answer(self, graph: int, question: tuple[str, ...], commits: Sequence[int]) -> set[int]:
        """Answer as `Stored.answer` does."""
        first = self.starts[graph]
        ids = [self.ids[first + number] for number in commits]
        if not question[0].startswith("--"):
            _, said = self.run("rev-list", "--topo-order", question[0].join(ids))
        else:
            code, said = self.run("merge-base", *question, *ids, codes=(0, 1))
            if question[0] == "--is-ancestor":
                return {1} if code == 0 else set()
        return {self.numbers[line] - first for line in said.split()}


def questions(graph: Graph, chance: random.Random) -> Iterator[tuple[tuple[str, ...], list[int]]]:
    """Yield questions and the commits that they are about; the same commit may stand twice."""
    numbers = range(len(graph.parents))
    late = [number**2 for number in numbers]
    for _ in range(QUESTIONS):
        two = chance.choices(numbers, late, k=2)
        several = chance.choices(numbers, late, k=chance.randint(1, 5))
        yield ("--all",), two
        yield ("--octopus", "--all"), several
        yield ("--independent",), several
        for question in ("--is-ancestor", "..", "..."):
            yield (question,), two


@dataclass
class Compared:
    """How many questions were asked, how many had several best merge bases for an answer, and where the two differ."""

    asked: int = 0
    several: int = 0
    faults: list[str] = field(default_factory=list)


def compare(count: int, seed: int = 0) -> Compared:
    """Ask about so many random graphs."""
    done = Compared()
    for first in range(0, count, AT_ONCE):
        chances = [random.Random(f"{seed} {number}") for number in range(first, min(first + AT_ONCE, count))]
        graphs = [random_graph(chance) for chance in chances]
        with scratch_folder() as folder:
            git = Git(folder, graphs)
            for number, (graph, chance) in enumerate(zip(graphs, chances, strict=True)):
                stored = Stored(graph, folder)
                for question, commits in questions(graph, chance):
                    done.asked += 1
                    ours, theirs = stored.answer(question, commits), git.answer(number, question, commits)
                    done.several += "--all" in question and len(theirs) > 1
                    if ours != theirs:
                        done.faults.append(f"graph {first + number}: {question} {commits}: {ours}, git says {theirs}")
    return done


def run(size: Size) -> list[Trial]:
    """Compare, and make a row of it."""
    started = time.monotonic()
    done = compare(GRAPHS[size])
    note = f"{done.asked:,} questions, of which {done.several:,} have several best merge bases"
    note = "; ".join(done.faults)[:2000] or note
    seconds = time.monotonic() - started
    return [Trial("R16", "random histories, compared with git", GRAPHS[size], 0, len(done.faults), note, seconds)]


def _imported(graph: Graph, first: int, ref: str) -> Iterator[str]:
    """Yield the commands of `git fast-import` that make a graph; its first commit has the mark `first`."""
    for mark, (parents, moment) in enumerate(zip(graph.parents, graph.times, strict=True), first):
        if not parents:
            yield f"reset {ref}\n"  # else the ref's last commit would be the parent
        yield f"commit {ref}\nmark :{mark}\ncommitter Ada <a@b> {moment} +0000\ndata <<.\n{mark}\n.\n"
        for word, parent in zip(("from", "merge", "merge", "merge"), parents, strict=False):
            yield f"{word} :{first + parent}\n"
