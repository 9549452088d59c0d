"""`verify`: learn what a commit brought once more, and see whether the same comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from cns.errors import MethodError
from cns_cli.optionfield import Dtype
from cns_cli.porcelain.options import Request
from cns_cli.porcelain.result import Result
from cns_cli.progress import Progress
from registry.errors import UnknownConcept
from registry.names import is_id
from registry.objects import Concept, Record, References
from registry.repository import Repository
from registry.rewriting import CONTEXT

Outcome = Literal["identical", "alike", "differs"]


@dataclass(frozen=True, kw_only=True)
class Verified(Result):
    """What came of learning one concept again.

    Attributes:
        concept: Its id. again: The id that came out.
        outcome: identical: the same bits. alike: this is another machine than the record names, and what is drawn
            scores the same within the gate's interval. differs: neither.
        parts: What is not as stored. step: The first training step whose loss is not the recorded one.
        drop, low, high, max_drop: Of the main score, where bits could not be equal; the interval, and what is allowed.
        steps: Of the training, token warm-up included.
    """

    name: str
    concept: str
    again: str
    outcome: Outcome
    parts: tuple[str, ...]
    step: int | None
    steps: int
    drop: float | None = None
    low: float | None = None
    high: float | None = None
    max_drop: float | None = None


@dataclass(frozen=True, kw_only=True)
class VerifyResult(Result):
    """What came of it; `machine` says in what this one differs from the record's."""

    commit: str
    reproduced: bool
    concepts: tuple[Verified, ...]
    machine: tuple[str, ...]


def verify(request: Request, rev: str, name: str | None, progress: Progress, device: str = "auto") -> VerifyResult:
    """Learn again what a commit brought. No object, ref or score is written.

    Args:
        request: Where the registry is.
        rev: The commit that learned it.
        name: One of its concepts; None: all.
        progress: Told of stages and steps.
        device: Where to compute.

    Raises:
        UnknownRevision, UnknownConcept.
        MethodError: it cannot be tried: the commit learned nothing, its photos were not kept, or it was trained beside
            a concept that was purged.
    """
    repo = Repository.discover(request.start)
    commit = repo.resolve(rev)
    record = _record(repo, commit)
    wanted = _wanted(repo, commit, name)
    from cns_cli.porcelain.learning.verifying import surroundings
    from cns_cli.porcelain.models.session import Session

    progress.stage("load the model")
    dtype = str(record.get("dtype", "")).removeprefix("torch.")
    session = Session.open(repo, device, dtype=dtype if dtype in get_args(Dtype) else "auto", trains=True)
    machine = surroundings(session, record)
    tried = tuple(_tried(session, one, record, progress, scores=bool(machine)) for one in wanted.values())
    return VerifyResult(
        commit=commit, reproduced=all(one.outcome != "differs" for one in tried), concepts=tried, machine=machine
    )


def _tried(session: Any, concept_id: str, record: Mapping[str, Any], progress: Progress, *, scores: bool) -> Verified:
    from cns_cli.porcelain.learning.verifying import is_alike, learn_again

    params = record["params"]
    steps = sum(int(params.get(key, 0)) for key in ("warmup_steps", "steps"))
    progress.note(f"a training of {steps:,} steps begins; it takes what cns add took")
    again = learn_again(session, concept_id, record, progress, scores=scores)
    stored = session.repo.objects.get(concept_id, Concept)
    outcome: Outcome = "identical" if not again.parts else "alike" if is_alike(again.verdict) else "differs"
    found: dict[str, float] = {}
    if again.verdict is not None:
        found = {key: getattr(again.verdict, key) for key in ("drop", "low", "high")}
        found["max_drop"] = session.base.family.defaults.max_drop
    return Verified(
        name=stored.name, concept=concept_id, again=again.concept_id, outcome=outcome, parts=again.parts,
        step=again.step, steps=steps, **found,
    )  # fmt: skip


def _record(repo: Repository, commit_id: str) -> Mapping[str, Any]:
    commit = repo.commit_of(commit_id)
    data = {} if commit.record is None else repo.objects.get(commit.record, Record).data
    if commit.kind != "add" or not isinstance(data.get("params"), dict):
        learned = data["renamed"].get("commit") if isinstance(data.get("renamed"), dict) else None
        raise MethodError(
            f"commit {commit_id[:10]} ({commit.kind}) learned nothing: expected one that cns add made",
            f"cns verify {str(learned)[:10]}" if is_id(learned) else "cns log",
        )
    if data.get(CONTEXT):
        raise MethodError(
            f"what {commit_id[:10]} brought was trained beside a concept that was purged, and cannot be learned again",
            f"cns show {commit_id[:10]}",
        )
    return data


def _wanted(repo: Repository, commit: str, name: str | None) -> dict[str, str]:
    brought = repo.index.introduced(commit)
    if name is not None and name not in brought:
        raise UnknownConcept(name, sorted(brought))
    wanted = {one: concept for one, concept in sorted(brought.items()) if name in (None, one)}
    for one, concept_id in wanted.items():
        concept = repo.objects.get(concept_id, Concept)
        if repo.objects.get(concept.references, References).images is None:
            raise MethodError(
                f"the photos of {one} were not kept: there is nothing to learn it from", f"cns show {one}"
            )
    return wanted
