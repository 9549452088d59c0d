"""Writing a revision's model, or some of its concepts, for other programs, in a format of `exchange/`.

What can be refused is refused before torch is imported.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cns.families import Family, family_named
from cns_cli.files import new_folder
from cns_cli.habits import FORMAT_OF
from cns_cli.porcelain.answers import ExportResult
from cns_cli.porcelain.exchange import programs
from cns_cli.porcelain.exchange.files import DTYPES
from cns_cli.porcelain.exchange.formats import FORMATS
from cns_cli.porcelain.exchange.order import Order, word_of
from cns_cli.porcelain.exchange.programs import PROGRAMS, Program
from cns_cli.progress import NullProgress, Progress
from registry import fsio
from registry.errors import RegistryError, UnknownConcept
from registry.objects import Base, Tree
from registry.repository import Repository
from registry.trees import concepts_of

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
    rank: int | None = None,
    program: str | None = None,
) -> ExportResult:
    """Export the model of a revision, or some of its concepts, for other programs.

    Args:
        rev: The revision.
        kind: Key of `FORMATS`.
        folder: Must not exist, or be empty. It appears whole or not at all.
        dtype: fp32, fp16 or bf16.
        start: Where to look for the registry.
        progress: Told of progress.
        concepts: Names of those whose weights are written; none stands for all, where that can be meant.
        rank: Of a `lora`; None: that of its directions, or 32.
        program: Key of `PROGRAMS`, for all that it needs; it chooses the format.

    Raises:
        UnknownRevision, UnknownConcept.
        ConceptsUnsaid: prompts see what they name, and which concepts are meant is not said.
        RegistryError: The folder is in use or has no name, kind or dtype is unknown, there is nothing to write, or two
            concepts would have one file.
    """
    _refuse_unknown(kind, dtype, program)
    reader = PROGRAMS[program] if program else None
    if rank is not None and kind != "lora" and not (reader and reader.weights):
        raise RegistryError(f"a rank is that of a lora, and {kind} has none", "cns export --format lora --rank N DIR")
    _refuse_unusable(folder)
    repo = Repository.discover(start)
    commit = repo.resolve(rev)
    whole = repo.tree_of(commit)
    _refuse_of_base(kind, reader, family_named(repo.objects.get(whole.base, Base).family))
    tree = _one_set(whole, concepts, _words(rev, kind, folder, dtype, program or ""), FORMATS[kind].apart)
    tokens = {name: one.tokens for name, one in concepts_of(tree, repo.objects).items()}
    for one in ("embedding", "lycoris") if reader and reader.weights else (kind,):
        _check_writable(one, dtype, tree, tokens)
    progress = progress or NullProgress()
    progress.stage("load libraries")
    from cns_cli.porcelain.models.session import Session

    progress.stage("write the model")
    stem = next(iter(tokens)) if len(tokens) == 1 else folder.name
    session = Session.open(repo, "cpu")
    order = Order(session=session, tree=tree, commit=commit, stem=stem, dtype=dtype, rank=rank)
    with new_folder(folder) as building:
        if reader is None:
            error = FORMATS[kind].write(order, building)
        else:
            kind, error = programs.write(reader, order, building)
        _write_record(building / RECORD, order, whole, tokens)
    return ExportResult(
        folder=folder,
        format=kind,
        commit=commit,
        dtype=dtype,
        bytes_written=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        tokens={name: one[0] for name, one in tokens.items()},
        error=error,
        program=program,
        prompts=programs.prompts(reader, order) if reader else (),
        place=reader.place.format(folder=folder, stem=stem) if reader else None,
        load=() if reader and reader.weights else tuple(_loading_lines(order, kind, folder, tokens)),
        warnings=tuple(_warnings(order, whole, kind, error, reader)),
    )


def _refuse_unknown(kind: str, dtype: str, program: str | None) -> None:
    """Refuse words that are in no table, and a format beside a program, which chooses it."""
    if kind not in FORMATS:
        said, meant = f"no export as {kind!r}: formats are {', '.join(FORMATS)}", FORMAT_OF.get(kind.lower(), "")
        if kind.lower() in PROGRAMS:
            raise RegistryError(said, f"cns export --for {kind.lower()} DIR")
        raise RegistryError(said, f"cns export --format {meant} DIR" if meant else "cns export --help")
    if dtype not in DTYPES:
        raise RegistryError(f"no export in {dtype!r}: dtypes are {', '.join(DTYPES)}", "cns export --help")
    if program is not None and (program not in PROGRAMS or kind != "diffusers"):
        raise RegistryError(
            f"no export for {program!r} as {kind!r}: programs are {', '.join(PROGRAMS)}, and choose the format",
            "cns export --help",
        )


def _refuse_of_base(kind: str, reader: Program | None, family: Family) -> None:
    """Refuse what no program reads of a base of this family."""
    if family.reads_by != "CLIP" and ((reader and reader.weights) or not FORMATS[kind].any_base):
        formats = [name for name, one in FORMATS.items() if one.any_base]
        meant = f"for {reader.name}" if reader else f"as {kind}"
        raise RegistryError(
            f"no export of a {family.name} base {meant}: the programs that read such files know Stable "
            f"Diffusion's names alone; expected {' or '.join(formats)}",
            "cns export --format diffusers DIR",
        )


def _write_record(file: Path, order: Order, whole: Tree, tokens: Mapping[str, Sequence[str]]) -> None:
    """Write what a folder holds: a part of `whole`, the tree of a commit."""
    record = {
        "commit": order.commit,
        "compose": whole.compose,
        "concepts": order.tree.concepts,
        "tokens": {name: one[0] for name, one in tokens.items()},
        "dtype": order.dtype,
    }
    fsio.replace(file, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode())


def _loading_lines(order: Order, kind: str, folder: Path, tokens: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Lines of Python that open what was written."""
    from cns.text import has_second_encoder

    pipeline = order.session.base.model.pipeline
    files = {f"{order.stem}.safetensors": ""}
    if FORMATS[kind].apart:
        files = {f"{word_of(one)}.safetensors": f"<{word_of(one)}>" for one in tokens.values()}
    for file, token in files.items():
        said = {"folder": folder, "file": folder / file, "name": file, "token": token, "dtype": DTYPES[order.dtype]}
        said |= {"base": order.session.base.folder, "pipeline": type(pipeline).__name__}
        row = FORMATS[kind]
        lines = row.load_two if row.load_two and has_second_encoder(pipeline) else row.load
        yield from (line.format(**said) for line in lines)


def _check_writable(kind: str, dtype: str, tree: Tree, tokens: Mapping[str, Sequence[str]]) -> None:
    """Refuse what is nothing, cannot be rounded, or would lie in one file."""
    if kind == "delta" and dtype != "fp32":
        raise RegistryError(
            "a delta holds whole numbers that are not rounded: expected no --dtype", "cns export --help"
        )
    if not tree.concepts and not FORMATS[kind].whole and (FORMATS[kind].apart or tree.erasure is None):
        raise RegistryError(f"no concept is there to write as {kind}", "cns add NAME IMAGES/")
    by_word: dict[str, str] = {}
    for name, one in tokens.items():
        other = by_word.setdefault(word_of(one), name)
        if other != name and kind == "embedding":
            raise RegistryError(
                f"concepts '{other}' and '{name}' would both be '{word_of(one)}', as other programs do not tell "
                "capital letters",
                f"cns export --format embedding --concept {name} DIR",
            )


def _warnings(order: Order, whole: Tree, kind: str, error: float | None, reader: Program | None) -> Iterator[str]:
    """In what the export is not what `cns generate` draws."""
    if reader and (doubt := programs.doubt(reader, order)):
        yield doubt
    if order.dtype != "fp32" and error != 0:
        yield f"{order.dtype} rounds the concepts' changes; fp32 is exact"
    if FORMATS[kind].apart:
        return
    if order.session.base.family.reads_by != "CLIP" and order.tree.concepts:
        if order.session.base.family.reads_by == "T5":
            yield "call the pipeline with clean_caption=False, or it takes tokens out where beautifulsoup4 and ftfy are"
        for one in order.session.concepts(order.tree).values():
            if len(one.rows) > 1:
                yield f"there a prompt names every vector by itself: {' '.join(one.rows)}"
    if whole.compose == "named" and order.tree.concepts:
        yield "there every prompt sees all of these, the negative one too; cns generate tells prompts apart"
    if whole.compose == "all" and (left := sorted(whole.concepts.keys() - order.tree.concepts.keys())):
        yield f"cns generate draws this revision with {', '.join(left)}, too, beside which these were learned"


class ConceptsUnsaid(RegistryError):
    """A set of weights for every prompt cannot be told from what was said of concepts."""


def _one_set(tree: Tree, names: Sequence[str], words: Sequence[str], apart: bool) -> Tree:
    """The tree of which every prompt sees all, by the names that were said.

    Args:
        tree: The tree of the revision.
        names: As they were said.
        words: The command without them.
        apart: Nothing is put together, so all can be meant.
    """
    if unknown := next((name for name in names if name not in tree.concepts), None):
        raise UnknownConcept(unknown, list(tree.concepts))
    if tree.compose == "named" and not names and len(tree.concepts) > 1 and not apart:
        said = [word for name in sorted(tree.concepts) for word in ("--concept", name)]
        raise ConceptsUnsaid(
            "a prompt sees the concepts that it names here, and other programs have one set of weights for all: "
            f"expected which of {', '.join(sorted(tree.concepts))} to write",
            shlex.join((*words[:-1], *said, words[-1])),
        )
    held = {name: tree.concepts[name] for name in names or tree.concepts}
    return replace(tree, concepts=held, compose="all")


def _words(rev: str, kind: str, folder: Path, dtype: str, program: str) -> tuple[str, ...]:
    """The command, without what is as by default."""
    typed = [("--format", kind, "diffusers"), ("--for", program, ""), ("--at", rev, "HEAD"), ("--dtype", dtype, "fp32")]
    return ("cns", "export", *(word for flag, one, usual in typed if one != usual for word in (flag, one)), str(folder))


def _refuse_unusable(folder: Path) -> None:
    """Refuse a place where no new folder can appear as a whole."""
    hint = "cns export --format diffusers NEW_FOLDER"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RegistryError(f"'{folder}' exists and is not an empty folder", hint)
    if not folder.name:
        why = "has no name of its own, by which it could be put in place as a whole"
        raise RegistryError(f"'{folder}' {why}: expected a new folder", hint)
