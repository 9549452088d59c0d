"""Writing a revision's model for other programs, in the format of a module of `exchange/`.

What can be refused is refused before torch is imported.
"""

from __future__ import annotations

import json
import pkgutil
import shlex
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from cns_cli.files import new_folder
from cns_cli.porcelain import exchange
from cns_cli.porcelain.answers import ExportResult
from cns_cli.progress import NullProgress, Progress
from registry import fsio
from registry.errors import RegistryError, UnknownConcept
from registry.objects import Tree
from registry.repository import Repository
from registry.trees import composing, seen

FORMATS = {
    found.name: import_module(f"{exchange.__name__}.{found.name}") for found in pkgutil.iter_modules(exchange.__path__)
}
"""Format -> its module, with `write(session with the tree set, folder to fill, dtype)` and `loading_lines`."""

DTYPES = ("fp32", "fp16", "bf16")

RECORD = "cns.json"
"""File in an exported folder that says what it holds: commit, concepts, tokens, and what prompts see of the commit."""


def export(
    rev: str,
    kind: str,
    folder: Path,
    dtype: str,
    start: Path,
    progress: Progress | None = None,
    concepts: Sequence[str] = (),
) -> ExportResult:
    """Export the model of a revision, as one set of weights for every prompt.

    Args:
        rev: The revision.
        kind: Key of `FORMATS`.
        folder: Must not exist, or be empty. It appears whole or not at all.
        dtype: fp32, fp16 or bf16.
        start: Where to look for the registry.
        progress: Told of progress.
        concepts: Where prompts see the concepts that they name: names of those whose weights are written.

    Raises:
        UnknownRevision, UnknownConcept.
        ConceptsUnsaid: prompts see what they name, and which concepts are meant is not said; or it is said, and they
            see all.
        RegistryError: The folder is in use or has no name, or kind or dtype is unknown.
    """
    if kind not in FORMATS or dtype not in DTYPES:
        raise RegistryError(
            f"no export as {kind!r} in {dtype!r}: formats are {', '.join(FORMATS)}, dtypes {', '.join(DTYPES)}",
            "cns export --help",
        )
    _refuse_unusable(folder)
    repo = Repository.discover(start)
    commit = repo.resolve(rev)
    whole = repo.tree_of(commit)
    tree = _one_set(whole, concepts, _words(rev, kind, folder, dtype))
    progress = progress or NullProgress()
    progress.stage("load libraries")
    from cns_cli.porcelain.models.session import Session

    progress.stage("write the model")
    session = Session.open(repo, "cpu")
    session.set_tree(tree)
    tokens = {name: next(iter(concept.rows)) for name, concept in session.concepts(tree).items()}
    record = {"commit": commit, "compose": whole.compose, "concepts": tree.concepts, "tokens": tokens, "dtype": dtype}
    with new_folder(folder) as building:
        FORMATS[kind].write(session, building, dtype)
        fsio.replace(building / RECORD, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode())
    return ExportResult(
        folder=folder,
        format=kind,
        commit=commit,
        dtype=dtype,
        bytes_written=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        tokens=tokens,
        load=FORMATS[kind].loading_lines(folder, dtype),
        warnings=tuple(_warnings(whole, tree, dtype)),
    )


def _warnings(whole: Tree, tree: Tree, dtype: str) -> Iterator[str]:
    """In what the export is not what `cns generate` draws."""
    if dtype != "fp32":
        yield f"{dtype} rounds the concepts' changes; fp32 is exact"
    if whole.compose == "named" and tree.concepts:
        yield "there every prompt sees all of these, the negative one too; cns generate tells prompts apart"


class ConceptsUnsaid(RegistryError):
    """A set of weights for every prompt cannot be told from what was said of concepts."""


def _one_set(tree: Tree, names: Sequence[str], words: Sequence[str]) -> Tree:
    """The tree of which every prompt sees all, by the names that were said.

    Args:
        tree: The tree of the revision.
        names: As they were said.
        words: The command without them.
    """
    if unknown := next((name for name in names if name not in tree.concepts), None):
        raise UnknownConcept(unknown, list(tree.concepts))
    if tree.compose == "all":
        if names:
            raise ConceptsUnsaid("prompts see all concepts of this revision: expected no --concept", shlex.join(words))
        return tree
    if not names and len(tree.concepts) > 1:
        said = [word for name in sorted(tree.concepts) for word in ("--concept", name)]
        raise ConceptsUnsaid(
            "a prompt sees the concepts that it names here, and other programs have one set of weights for all: "
            f"expected which of {', '.join(sorted(tree.concepts))} to write",
            shlex.join((*words[:-1], *said, words[-1])),
        )
    return composing(seen(tree, names or tree.concepts), "all")


def _words(rev: str, kind: str, folder: Path, dtype: str) -> tuple[str, ...]:
    """The command, without what is as by default."""
    typed = [("--format", kind, "diffusers"), ("--at", rev, "HEAD"), ("--dtype", dtype, "fp32")]
    return ("cns", "export", *(word for flag, one, usual in typed if one != usual for word in (flag, one)), str(folder))


def _refuse_unusable(folder: Path) -> None:
    """Refuse a place where no new folder can appear as a whole."""
    hint = "cns export --format diffusers NEW_FOLDER"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RegistryError(f"'{folder}' exists and is not an empty folder", hint)
    if not folder.name:
        why = "has no name of its own, by which it could be put in place as a whole"
        raise RegistryError(f"'{folder}' {why}: expected a new folder", hint)
