"""`mv`: a commit whose tree is HEAD's with one concept under another name."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from cns.templates import default_token
from cns_cli.porcelain.combining.settle import renamed
from cns_cli.porcelain.models.mirroring import mirror_commit
from cns_cli.porcelain.options import Request
from cns_cli.porcelain.refs import shadowed
from cns_cli.porcelain.result import Result
from cns_cli.porcelain.scoring.carrying import carry_scores
from cns_cli.porcelain.views.commits import record_data
from cns_cli.porcelain.views.concepts import introductions
from cns_cli.progress import Progress
from cns_cli.signals import explained
from registry.errors import NameTaken, TokenTaken, UnknownConcept
from registry.names import check_new_name
from registry.objects import Concept, Record, Tree
from registry.repository import Repository
from registry.trees import with_concept, without_concept


@dataclass(frozen=True, kw_only=True)
class MvResult(Result):
    """A concept has another name, and the same weights.

    Attributes:
        tokens: What prompts call it now; `tokens_before` what they called it.
        before: The commit that HEAD was at, whose model has it under the old name.
    """

    old: str
    name: str
    tokens: tuple[str, ...]
    tokens_before: tuple[str, ...]
    class_noun: str
    commit: str
    branch: str | None
    before: str
    warnings: tuple[str, ...] = ()


def mv(request: Request, old: str, new: str, progress: Progress, message: str | None = None) -> MvResult:
    """Commit a concept under another name, with that name's token where it had that of its old one.

    Its weights and embedding rows are the same bits, so that no picture changes but for the word in the prompt, and
    its scores hold. The record is that of its training, since nothing else tells how it came.

    Args:
        request: Where, by whom, when.
        old: The concept.
        new: Its new name.
        progress: Told of stages.
        message: Of the commit.

    Raises:
        NotARegistry, UnknownConcept, BadName, LockBusy, TipMoved.
        NameTaken, TokenTaken: Another concept has the new name, or its token.
        MlflowUnavailable: The registry demands MLflow (`mlflow.required`) and it cannot be reached; the commit stands.
    """
    repo = Repository.discover(request.start)
    head = repo.head()
    tree = repo.tree_of(head.commit)
    if old not in tree.concepts:
        raise UnknownConcept(old, tuple(tree.concepts))
    was, made = tree.concepts[old], _called(repo, tree, old, new)
    before, now = (repo.objects.get(one, Concept) for one in (was, made))

    def change(tip: Tree) -> Tree:
        if tip.concepts.get(old) != was:
            raise UnknownConcept(old, tuple(tip.concepts))
        return with_concept(without_concept(tip, old), new, made)

    done = repo.commit(
        kind="rename",
        message=message or f"rename {old} to {new}",
        author=request.author,
        time=int(time.time()) if request.time is None else request.time,
        record=_record(repo, head.commit, tree, old),
        change=change,
        seen=head.commit,
        keep_as=new,
    )
    with explained(f"{old} is {new} in {done.id[:10]}; MLflow may lack it", "cns mlflow sync"):
        carry_scores(repo, repo.tree_of(done.commit.parents[0]), repo.tree_of(done.id), old, new)
        progress.stage("record in MLflow")
        warnings = (*shadowed(repo, new), *mirror_commit(repo, done.id, request.mlflow_uri))
    return MvResult(
        old=old, name=new, tokens=now.tokens, tokens_before=before.tokens,
        class_noun=now.class_noun, commit=done.id, branch=head.branch, before=head.commit, warnings=warnings,
    )  # fmt: skip


def _called(repo: Repository, tree: Tree, old: str, new: str) -> str:
    """Store a concept under another name, with the token that is free for it; return its id."""
    if check_new_name(new) in tree.concepts:
        raise NameTaken(new, hint="cns status")
    concepts, was = repo.concepts(tree), tree.concepts[old]
    concept = concepts.pop(old)
    if concept.tokens[:1] == (default_token(old),):
        made = renamed(repo, was, new)
    else:
        made = repo.objects.put(replace(concept, name=new))
    tokens = repo.objects.get(made, Concept).tokens
    for other, one in concepts.items():
        if taken := set(tokens).intersection(one.tokens):
            raise TokenTaken(min(taken), new, other, hint="cns status")
    return made


def _record(repo: Repository, commit: str, tree: Tree, old: str) -> Record:
    """The record of a concept's training, and what it was called; of a second renaming, still the training's commit."""
    born = introductions(repo, commit, tree).get(old)
    learned = record_data(repo, born[1]) if born else {}
    earlier = learned.get("renamed")
    learned_in = earlier.get("commit") if isinstance(earlier, dict) else born[0] if born else None
    return Record({**learned, "renamed": {"name": old, "concept": tree.concepts[old], "commit": learned_in}})
