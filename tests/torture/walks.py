"""R9: random walks over branching histories. The weights of a model depend on its set of concepts and on nothing else.

A walk adds, removes, branches and checks out on a tiny random pipeline, whose live weights are set after each step. The
bits must be those of the first time that this set was seen, in any walk; those of a sum that is worked out here, apart
from the method's own code; and outside the masks those of the base. Learning is not under test: deltas are random.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cns import codec
from cns.codec import SparseDelta
from cns.compose import Model, Weights, kv_parameters
from cns_cli.porcelain.init import init_registry
from cns_cli.porcelain.models.session import Session
from registry.errors import NothingToDo
from registry.objects import Blob, Concept, References, Tree
from registry.repository import Repository
from registry.trees import with_concept, without_concept
from tests.tiny import tiny_sd
from tests.torture.scratch import scratch_folder
from tests.torture.table import Size, Trial
from tests.weights import weights_digest

NAMES = ("rex", "tom", "kim", "ann", "bob", "mug")
STEPS = 10
WALKS: dict[Size, int] = {"quick": 50, "full": 1_000}


@dataclass
class Walked:
    """What walks have seen.

    Attributes:
        digests: {the ids of a set of concepts: digest of its weights}.
        visits: How often each set was seen.
    """

    digests: dict[frozenset[str], str] = field(default_factory=dict)
    visits: Counter[frozenset[str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def revisits(self) -> int:
        """How many steps came to a set that had been seen."""
        return sum(self.visits.values()) - len(self.visits)


class Walker:
    """Walks on registries of one base, whose pipeline is loaded once.

    Args:
        scratch: Where the base and the registries go.
        seed: Of everything.
    """

    def __init__(self, scratch: Path, seed: int = 0) -> None:
        self.scratch = scratch
        self.base = tiny_sd(scratch / "base")
        init_registry(scratch / "first", str(self.base), author="ann", time=0, compose="all")
        self.session = Session.open(Repository(scratch / "first"), "cpu")
        self.model: Model = self.session.base.model
        rng = np.random.default_rng(seed)
        self.deltas = {name: _delta(self.model, rng) for name in NAMES}
        self.seen = Walked()
        self.untouched = self._others()

    def walk(self, number: int) -> None:
        """Go a number of random steps on a new registry, and look at the weights after each."""
        chance = random.Random(number)
        folder = shutil.copytree(self.scratch / "first", self.scratch / f"walk-{number}")
        repository = Repository(folder)
        session = Session(repository, self.session.base)
        concepts = {name: self._put(repository, name) for name in NAMES}
        path: list[str] = []
        for step in range(STEPS):
            path.append(_step(repository, concepts, chance, step))
            self._look(session, chance, f"walk {number}: {', '.join(path)}")

    def _look(self, session: Session, chance: random.Random, where: str) -> None:
        tree = session.repo.tree_of("HEAD")
        ids = frozenset(tree.concepts.values())
        weights = session.set_tree(tree)
        digest = weights_digest(weights)
        self.seen.visits[ids] += 1
        faults = []
        if self.seen.digests.setdefault(ids, digest) != digest:
            faults.append("another bit than the first time")
        shuffled = list(session.concepts(tree).values())
        chance.shuffle(shuffled)
        if weights_digest(self.model.compose(shuffled)) != digest:
            faults.append("another bit in another order")
        if any(not _same(weights[name], expected) for name, expected in self._worked_out(tree).items()):
            faults.append("not the base and its integers")
        live = kv_parameters(self.model.pipeline)
        if any(not _same(live[name].detach(), weights[name].numpy()) for name in weights):
            faults.append("the live pipeline has other weights")
        if self._others() != self.untouched:
            faults.append("a weight was changed that no concept may touch")
        self.seen.faults += [f"{where}: {fault}" for fault in faults]

    def _worked_out(self, tree: Tree) -> dict[str, NDArray[np.float32]]:
        """Base and integers of a set, added here: where the sum is zero, or no mask is, the base's own bits."""
        result = {}
        for matrix, base in self.model.base.items():
            values = base.numpy().copy().ravel()
            total = np.zeros(values.size, np.int64)
            for name in tree.concepts:
                if matrix in self.deltas[name]:
                    np.add.at(total, self.deltas[name][matrix].positions, self.deltas[name][matrix].steps)
            at = np.flatnonzero(total)
            values[at] += np.float32(2.0 ** self.model.exponents[matrix]) * total[at].astype(np.float32)
            result[matrix] = values.reshape(tuple(base.shape))
        return result

    def _others(self) -> str:
        """Digest of the denoiser's weights that no concept may touch."""
        others: Weights = {
            name: value for name, value in self.model.pipeline.unet.state_dict().items() if name not in self.model.base
        }
        return weights_digest(others)

    def _put(self, repository: Repository, name: str) -> str:
        put = repository.objects.put
        mask, delta = codec.encode(self.deltas[name])
        width = self.model.pipeline.text_encoder.get_input_embeddings().weight.shape[1]
        row = np.full(width, len(name) + ord(name[0]), np.float32)
        concept: dict[str, Any] = {
            "name": name,
            "class_noun": "dog",
            "tokens": (f"<{name}>",),
            "embedding": put(Blob(codec.encode_rows({f"<{name}>": row}))),
            "mask": put(Blob(mask)),
            "delta": put(Blob(delta)),
            "recipe": {},
            "references": put(References(None, (), 0, 64, {})),
            "trained_on": repository.commit_of(repository.head().commit).tree,
        }
        return put(Concept(**concept))


def _delta(model: Model, rng: np.random.Generator) -> dict[str, SparseDelta]:
    """A random delta: 10 % of the weights of most matrices, so that masks overlap."""
    delta = {}
    for name, weight in model.base.items():
        if rng.random() < 0.8:
            positions = np.flatnonzero(rng.random(weight.numel()) < 0.1).astype(np.int64)
            steps = rng.integers(-30_000, 30_001, positions.size).astype(np.int16)
            steps[steps == 0] = 1
            shape = (int(weight.shape[0]), int(weight.shape[1]))
            delta[name] = SparseDelta(shape, positions, steps, model.exponents[name])
    return delta


def _step(repository: Repository, concepts: dict[str, str], chance: random.Random, step: int) -> str:
    """Do one thing and say what."""
    branches = list(repository.branches())
    action = chance.choice(("add", "add", "rm", "branch", "checkout", "back"))
    tree = repository.tree_of("HEAD")
    name = chance.choice(NAMES)
    if action == "branch":
        repository.create_branch(f"b{step}", time=step)
        repository.checkout(f"b{step}", time=step)
        return f"branch b{step}"
    if action == "checkout":
        target = chance.choice(branches)
        repository.checkout(target, time=step)
        return f"checkout {target}"
    if action == "back":
        target = chance.choice([commit for commit, _ in repository.log(chance.choice(branches))])
        repository.checkout(target, time=step)
        return f"checkout {target[:7]}"
    takes_out = action == "rm" and name in tree.concepts
    repository_commit(repository, name, None if takes_out else concepts[name], step)
    return f"{'rm' if takes_out else 'add'} {name}"


def repository_commit(repository: Repository, name: str, concept: str | None, step: int) -> None:
    """Commit a concept, or the removal of one; nothing where it is there already."""
    try:
        repository.commit(
            kind="remove" if concept is None else "add",
            message=name,
            author="ann",
            time=step,
            record=None,
            change=lambda tree: without_concept(tree, name) if concept is None else with_concept(tree, name, concept),
            seen=repository.head().commit,
            keep_as=name,
        )
    except NothingToDo:
        pass


def _same(found: Any, expected: NDArray[np.float32]) -> bool:
    """True where two arrays hold the same bits."""
    return bool(np.array_equal(found.numpy().view(np.int32), expected.view(np.int32)))


def run(size: Size) -> list[Trial]:
    """50 or 1,000 walks of ten steps."""
    began = time.monotonic()
    with scratch_folder() as scratch:
        walker = Walker(scratch)
        for number in range(WALKS[size]):
            walker.walk(number)
    seen = walker.seen
    note = "; ".join(seen.faults[:3]) or f"{len(seen.visits)} models, {seen.revisits} times one of them again"
    what = f"random walks of {STEPS} steps over branches"
    return [Trial("R9", what, WALKS[size], 0, len(seen.faults), note, time.monotonic() - began)]
