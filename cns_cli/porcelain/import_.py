"""`import`: a commit with a concept that another program trained.

The file is read, measured and rounded without torch; what can be refused is refused by then.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cns.errors import AdapterError, ClassNounError
from cns.files.bases import resolution_of
from cns.files.images import ImageSet, load_images
from cns.judges.classnoun import clean_noun
from cns.templates import default_token
from cns_cli.porcelain.exchange.parts import Said, said_by_delta
from cns_cli.porcelain.learning.names import check_free_tokens
from cns_cli.porcelain.models.folder import base_folder
from cns_cli.porcelain.models.mirroring import mirror_commit
from cns_cli.porcelain.models.stored import STYLE_NOUN, kv_weights
from cns_cli.porcelain.options import ImportOptions
from cns_cli.porcelain.refs import shadowed
from cns_cli.porcelain.result import Result
from cns_cli.progress import Progress
from cns_cli.signals import explained
from registry import fsio
from registry.canonical import check_text
from registry.errors import DeltaTaken, NameTaken
from registry.names import check_new_name
from registry.objects import Base, Record, Tree
from registry.repository import Committed, Repository
from registry.trees import with_concept

if TYPE_CHECKING:  # importing it loads numpy
    from cns_cli.porcelain.learning.foreign import Foreign, Imported


NOTICED_LOSS = 0.05
"""Share of the change's length that rounding may take before it is warned of (chosen)."""


@dataclass(frozen=True, kw_only=True)
class ImportResult(Result):
    """A concept was brought in, or what that would be.

    Attributes:
        commit: None of a dry run, which writes nothing.
        vectors: Embedding rows of the token; `own_vectors`: a file brought them, else it starts at the class noun.
        file: The file that was read; `sha256`: of it.
        dialect: Who writes such files, and the methods in it.
        scales: Least and largest scale that was applied to a matrix; empty where a dialect has none.
        weight: What the change was multiplied with.
        modules: Modules that the file changes; `matrices`: key and value matrices among them.
        outside: Kind of module that a concept cannot hold -> its share of the energy of the file's whole change.
        rounding_loss: |dW - stored| / |dW| over the key and value matrices.
        rank: Of the change where it is stored as factors; 0 where it has a mask.
        drift: Concept -> K/V drift since its birth, where prompts see all concepts.
        images: How many show what it looks like.
    """

    name: str
    class_noun: str
    kind: str
    token: str
    vectors: int
    own_vectors: bool
    commit: str | None
    branch: str | None
    file: Path
    sha256: str
    dialect: str
    scales: tuple[float, ...]
    weight: float
    modules: int
    matrices: int
    outside: Mapping[str, float]
    neurons: int
    share_kv: float
    share_denoiser: float
    rounding_loss: float
    rank: int
    bytes_stored: int | None
    drift: Mapping[str, float]
    images: int
    warnings: tuple[str, ...] = ()


def import_concept(options: ImportOptions, progress: Progress) -> ImportResult:
    """Bring a concept in and commit it, or say what that would be.

    Raises:
        NotARegistry, BadName, NameTaken, TokenTaken, DeltaTaken, TokenError.
        AdapterError: The file cannot be read, is of another base, or changes what a concept cannot hold.
        ClassNounError: What it is one of is not said, and not clear.
        MlflowUnavailable: the registry demands MLflow (`mlflow.required`) and it cannot be reached; the commit stands.
    """
    repo = Repository.discover(options.start)
    head = repo.head()
    tree = repo.tree_of(head.commit)
    said = said_by_delta(options.file)
    asked, options = options, _settled(_filled(options, said, tree), repo, tree)
    if not options.dry_run:
        fsio.require_writable(repo.folder)
    folder = base_folder(repo)
    photos = load_images(options.images, resolution_of(folder)) if options.images else None
    progress.stage("read the file")
    from cns_cli.porcelain.learning.foreign import read_foreign, read_own

    base = repo.objects.get(tree.base, Base)
    found = read_own(options, said, base) if said else read_foreign(options, folder, base)
    _refuse_wider(asked, found)
    if options.dry_run:
        return _result(options, found, base, photos, None, None)
    progress.stage("load libraries")
    from cns_cli.porcelain.learning.foreign import bring_in

    imported = bring_in(options, found, photos, repo, tree, progress)
    options = replace(options, class_noun=imported.class_noun)
    try:
        done = _commit(options, found, imported, repo, base, head.commit)
    except DeltaTaken as same:
        raise same.told_of(options.name) from None
    with explained(f"{options.name} is imported in {done.id[:10]}; MLflow may lack it", "cns mlflow sync"):
        progress.stage("record in MLflow")
        warnings = (*shadowed(repo, options.name), *mirror_commit(repo, done.id, options.mlflow_uri))
    made = _result(options, found, base, photos, imported, done.id)
    return replace(made, branch=repo.head().branch, warnings=(*made.warnings, *warnings))


def _filled(options: ImportOptions, said: Said | None, tree: Tree) -> ImportOptions:
    """The request with what a file of our own says, where that was not typed."""
    if said is None:
        return options
    if said.base != tree.base:
        raise AdapterError(
            f"{options.file} is a concept on another base, {said.base[:10]}: expected {tree.base[:10]}",
            "cns init --base FOLDER with the base that it was made for, in a new folder",
            path=options.file,
        )
    return replace(
        options,
        class_noun=options.class_noun or said.class_noun,
        kind="style" if said.kind == "style" else options.kind,
        token=options.token or (said.tokens[0] if said.name == options.name else None),
    )


def _settled(options: ImportOptions, repo: Repository, tree: Tree) -> ImportOptions:
    """The request with its token and, where that is known, its class noun; refuses names that are taken."""
    check_new_name(options.name)
    for what, text in (("message", options.message), ("author", options.author), ("class noun", options.class_noun)):
        check_text(text or "", what)
    noun = STYLE_NOUN if options.kind == "style" else options.class_noun
    noun = clean_noun(noun) if noun is not None else None
    taken = repo.concepts(tree)
    if options.name in taken and not options.replace:
        raise NameTaken(options.name)
    token = options.token or (taken[options.name].tokens[0] if options.name in taken else default_token(options.name))
    check_free_tokens(token, options.name, taken, command=command(replace(options, token=None)))
    if noun is None and options.images is None:
        noun = _noun_in(options)
    return replace(options, token=token, class_noun=noun)


def _noun_in(options: ImportOptions) -> str | None:
    if options.dry_run:
        return None
    raise ClassNounError(
        f"it is not said what kind of thing {options.name} is, and no images show it: expected --class NOUN",
        f"{command(options)} --class NOUN",
    )


def command(options: ImportOptions) -> str:
    """The request as it was typed, but for options that only say more."""
    words = ["cns", "import", str(options.file), options.name]
    given = {"--class": options.class_noun, "--token": options.token, "--embedding": options.embedding}
    words += [str(word) for flag, value in given.items() if value is not None for word in (flag, value)]
    words += ["--weight", f"{options.weight:g}"] if options.weight != 1 else []
    words += ["--images", str(options.images)] if options.images else []
    words += ["--kind", options.kind] if options.kind != "object" else []
    words += ["--only-kv"] if options.only_kv else []
    return shlex.join(words)


def by_kind(shares: Mapping[str, float]) -> str:
    """Each kind of module with its share: "to_q 31.2%, ff 4.0%"."""
    return ", ".join(f"{kind} {share:.1%}" for kind, share in shares.items())


def _refuse_wider(options: ImportOptions, found: Foreign) -> None:
    """Refuse a change that a concept cannot hold, unless that shall be left out."""
    outside = found.outside
    if not outside or options.only_kv or options.dry_run:
        return
    raise AdapterError(
        f"{options.file}: {sum(outside.values()):.1%} of its change is beside the K/V weights of cross-attention, "
        f"which alone a concept changes: {by_kind(outside)}",
        f"{command(options)} --only-kv",
        path=options.file,
    )


def _commit(
    options: ImportOptions, found: Foreign, imported: Imported, repo: Repository, base: Base, seen: str
) -> Committed:
    return repo.commit(
        kind="import",
        message=options.message or f"import {options.name} from {options.file.name}",
        author=options.author,
        time=int(time.time()) if options.time is None else options.time,
        record=Record(_record(options, found, imported, base)),
        change=lambda tip: with_concept(tip, options.name, imported.concept_id, overwrite=options.replace),
        seen=seen,
        keep_as=options.name,
    )


def _record(options: ImportOptions, found: Foreign, imported: Imported, base: Base) -> dict[str, Any]:
    return {
        "params": {
            "class_noun": imported.class_noun,
            "token": options.token,
            "imported": options.file.name,
            "sha256": found.sha256,
            "dialect": found.dialect,
            "weight": options.weight,
            "only_kv": options.only_kv,
            **({"embedding": options.embedding.name} if options.embedding else {}),
            **({"embedding_sha256": found.vectors_sha256} if found.vectors_sha256 else {}),
            **({} if options.kind == "object" else {"kind": options.kind}),
        },
        "metrics": {
            **_figures(found, base),
            "bytes": float(imported.bytes_stored),
            "rounding_loss": found.rounding_loss,
            "energy_outside": sum(found.outside.values()),
        },
        "outside": dict(found.outside),
        "scales": list(found.scales),
        "neurons": found.neurons,
        "drift": dict(imported.drift),
    }


def _figures(found: Foreign, base: Base) -> dict[str, float]:
    count = sum(found.neurons.values())
    shares = {"share_kv": count / kv_weights(base), "share_denoiser": count / max(1, base.denoiser_parameters)}
    return {"neurons": float(count), **shares, **({"rank": float(found.rank)} if found.rank else {})}


def _result(
    options: ImportOptions, found: Foreign, base: Base, photos: ImageSet | None, imported: Imported | None,
    commit: str | None,
) -> ImportResult:  # fmt: skip
    figures = _figures(found, base)
    return ImportResult.of(
        found,
        name=options.name,
        class_noun=options.class_noun or "",
        kind=options.kind,
        token=options.token or "",
        vectors=len(found.vectors) if found.vectors is not None else 1,
        own_vectors=found.vectors is not None,
        commit=commit,
        branch=None,
        file=options.file,
        weight=options.weight,
        neurons=int(figures["neurons"]),
        share_kv=figures["share_kv"],
        share_denoiser=figures["share_denoiser"],
        bytes_stored=imported.bytes_stored if imported else None,
        drift=imported.drift if imported else {},
        images=len(photos.images) if photos else 0,
        warnings=tuple(_warnings(options, found, photos)),
    )


def _warnings(options: ImportOptions, found: Foreign, photos: ImageSet | None) -> Iterator[str]:
    if options.only_kv and found.outside:
        yield f"{sum(found.outside.values()):.1%} of the file's change was left out: pictures will differ from its own"
    if found.rounding_loss > NOTICED_LOSS:
        yield f"rounding to the base's grid loses {found.rounding_loss:.1%} of the change, which is weak"
    if not found.neurons and found.vectors is None:
        yield "the file changes no K/V weight by as much as half a step of the grid: the concept is its token alone"
    yield from photos.warnings if photos else ()
