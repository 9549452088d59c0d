"""`erase`: a commit whose tree is HEAD's on a base that has forgotten nouns."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cns.families import family_named
from cns_cli.figures import erased
from cns_cli.porcelain.models.mirroring import mirror_commit
from cns_cli.porcelain.models.previews import write_preview
from cns_cli.porcelain.options import EraseOptions
from cns_cli.porcelain.result import Result
from cns_cli.progress import Progress
from cns_cli.signals import explained
from registry.errors import RegistryError
from registry.objects import Base, Blob, Erasure, Record, Tree
from registry.repository import Repository
from registry.trees import erased_in, erasing

if TYPE_CHECKING:  # importing it loads torch
    from cns_cli.porcelain.learning.erasure import Forgotten

NOT_SAFETY = "it suppresses a name and is no safety device: other words, pictures or a learned token can bring it back"
"""What an erasure is not."""


@dataclass(frozen=True, kw_only=True)
class Share(Result):
    """Share of a noun's pictures that the judge calls by it, among all nouns of the base; 0 to 1."""

    noun: str
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class EraseResult(Result):
    """Nouns were erased.

    Attributes:
        erased: Noun -> what stands in its place, of this commit; `all`: of all that the model erases.
        others: Other noun of the base -> how far its values moved, relative and squared; the farthest first.
        drift: Concept -> K/V drift since its birth.
        rank: Of the change of each value matrix; `bytes_stored`: of it.
        preview: A contact sheet, before and after.
    """

    commit: str
    branch: str | None
    erased: Mapping[str, str]
    all: Mapping[str, str]
    shares: tuple[Share, ...]
    others: Mapping[str, float]
    drift: Mapping[str, float]
    rank: int
    bytes_stored: int
    preview: Path | None
    warnings: tuple[str, ...] = ()


class ErasedAlready(RegistryError):
    """A noun is erased in HEAD's model, and as it was asked for."""

    def __init__(self, noun: str, other: str) -> None:
        self.noun = noun
        instead = f", and {other} stands in its place" if other else ""
        super().__init__(f"{noun!r} is erased already{instead}: nothing was changed", "cns status")


class CannotErase(RegistryError):
    """A noun cannot go, or another cannot stand in its place."""


class ErasureMoved(RegistryError):
    """Another erasure was committed meanwhile; nothing was committed."""

    def __init__(self, words: str) -> None:
        super().__init__("another erasure was committed meanwhile: expected the one that this was solved with", words)


def erase(options: EraseOptions, progress: Progress) -> EraseResult:
    """Commit HEAD's tree on a base that has forgotten nouns, and all that it had forgotten before.

    Args:
        options: The request.
        progress: Told of stages.

    Raises:
        NotARegistry, LockBusy.
        ErasedAlready, CannotErase, ErasureMoved: see there.
        ClassNounError: a word is no noun, or none that the base knows.
        MlflowUnavailable: the registry demands MLflow (`mlflow.required`) and it cannot be reached; the commit stands.
    """
    repo = Repository.discover(options.start)
    head = repo.head()
    tree = repo.tree_of(head.commit)
    if (family := family_named(repo.objects.get(tree.base, Base).family)).reads_by != "CLIP":
        raise CannotErase(
            f"nothing can be erased from a {family.name} base: it reads prompts by {family.reads_by}, and what takes "
            "the place of a noun is known of CLIP alone",
            "in a new folder: cns init --base emoji-64",
        )
    nouns = _settled(options, erased_in(tree, repo.objects))
    progress.stage("load libraries")
    from cns_cli.porcelain.learning.erasure import forget
    from cns_cli.porcelain.models.session import Session

    progress.stage("load the model")
    done = forget(Session.open(repo, options.device, dtype="auto"), tree, nouns, options.images, options.seed, progress)

    def change(tip: Tree) -> Tree:
        if tip.erasure != tree.erasure:
            raise ErasureMoved(_words(options))
        return erasing(tip, done.erasure)

    made = repo.commit(
        kind="erase",
        message=options.message or f"erase {erased(nouns)}",
        author=options.author,
        time=int(time.time()) if options.time is None else options.time,
        record=_record(repo, done, options.seed),
        change=change,
        seen=head.commit,
        keep_as="erase",
    )
    with explained(f"erased in {made.id[:10]}; MLflow may lack it", "cns mlflow sync"):
        progress.stage("record in MLflow")
        warnings = mirror_commit(repo, made.id, options.mlflow_uri)
    return EraseResult.of(
        done,
        commit=made.id,
        branch=head.branch,
        erased=nouns,
        all=repo.objects.get(done.erasure, Erasure).nouns,
        shares=tuple(Share(noun=noun, before=old, after=new) for noun, (old, new) in done.shares.items()),
        bytes_stored=_size(repo, done.erasure),
        preview=write_preview(repo.folder, f"erase-{done.erasure[:10]}", done.sheet) if done.sheet else None,
        warnings=(*_of_classes(repo, tree, nouns, done.drift), *warnings),
    )


def _settled(options: EraseOptions, known: Mapping[str, str]) -> dict[str, str]:
    """Return {noun: what stands in its place} of what was asked for and is not so already.

    Args:
        options: The request.
        known: What the model erases.
    """
    from cns.judges.classnoun import clean_noun

    other = clean_noun(options.to).lower() if options.to else ""
    nouns = list(dict.fromkeys(clean_noun(noun).lower() for noun in options.nouns))
    held = {**known, **dict.fromkeys(nouns, other)}
    for noun, place in held.items():
        if place in held:
            raise CannotErase(
                f"{place!r} cannot stand in the place of {noun!r}: it is erased itself", "cns erase NOUN --to OTHER"
            )
    for noun in nouns:
        if known.get(noun) == other:
            raise ErasedAlready(noun, other)
    return dict.fromkeys(nouns, other)


def _of_classes(repo: Repository, tree: Tree, nouns: Mapping[str, str], drift: Mapping[str, float]) -> Iterator[str]:
    """Warn of concepts that are of an erased kind."""
    for name, concept in repo.concepts(tree).items():
        if concept.class_noun in nouns:
            yield (
                f"{concept.class_noun} is the class noun of {name}, whose keys and values have drifted by "
                f"{drift[name]:.4f} since its birth: cns check {name} says whether it kept its looks"
            )


def _record(repo: Repository, done: Forgotten, seed: int) -> Record:
    nouns = repo.objects.get(done.erasure, Erasure).nouns
    metrics = {"rank": float(done.rank), "bytes": float(_size(repo, done.erasure))}
    if done.shares:
        before, after = (sum(side) / len(done.shares) for side in zip(*done.shares.values(), strict=True))
        metrics |= {"share_before": before, "share_after": after}
    previews = {"sheet": repo.objects.put(Blob(done.sheet))} if done.sheet else {}
    return Record(
        {
            "params": {"erased": erased(nouns)},
            "metrics": metrics,
            "drift": dict(done.drift),
            "previews": previews,
            "seed": seed,
        }
    )


def _size(repo: Repository, erasure: str) -> int:
    """Bytes on disk of an erasure's two blobs."""
    stored = repo.objects.get(erasure, Erasure)
    return sum(repo.objects.path(one).stat().st_size for one in (stored.mask, stored.delta))


def _words(options: EraseOptions) -> str:
    return shlex.join(["cns", "erase", *options.nouns, *(("--to", options.to) if options.to else ())])
