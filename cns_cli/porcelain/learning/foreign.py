"""From a file of another trainer to objects that are ready to commit: read and rounded, then named and stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cns import codec
from cns.adapters.embeddings import holds_vectors, read_vectors
from cns.adapters.modules import Modules
from cns.adapters.rounding import dense, on_grid
from cns.adapters.update import Change, read_update
from cns.errors import AdapterError, TokenError
from cns.families import family_named
from cns.files.images import ImageSet
from cns.files.models import file_sha256
from cns.judges.classnoun import SURE, infer_class_noun
from cns.templates import vector_tokens
from cns_cli.porcelain.exchange.parts import Said, read_delta
from cns_cli.porcelain.options import ImportOptions
from cns_cli.progress import Progress
from registry.objects import Base, Blob, Concept, References, Tree
from registry.repository import Repository
from registry.trees import trained_in, with_concept

if TYPE_CHECKING:  # importing it loads torch
    from cns_cli.porcelain.models.session import Session


@dataclass(frozen=True)
class Foreign:
    """What a file holds, as a concept stores it.

    Attributes:
        delta: Its change on the grid.
        vectors: Of its token, shape (V, D), float32; None where nothing brings them.
        outside: Kind of module -> share of the energy of its whole change, beside the K/V matrices.
        scales: Least and largest scale, or none.
        modules, matrices: How many it changes.
        rounding_loss: |dW - stored| / |dW|.
        vectors_sha256: Of the file of its vectors, where that is another.
    """

    dialect: str
    sha256: str
    delta: codec.Delta
    vectors: NDArray[np.float32] | None
    outside: Mapping[str, float] = field(default_factory=dict)
    scales: tuple[float, ...] = ()
    modules: int = 0
    matrices: int = 0
    rounding_loss: float = 0.0
    vectors_sha256: str = ""

    @property
    def rank(self) -> int:
        """Where it is stored as factors; else 0."""
        return codec.rank_of(self.delta)

    @property
    def neurons(self) -> dict[str, int]:
        """Matrix name -> how many weights it changes; of those where it changes any."""
        return {name: one.count for name, one in self.delta.items() if one.count}


@dataclass(frozen=True)
class Imported:
    """A concept whose objects are stored, but which is not committed; `drift`: of each older one since its birth."""

    concept_id: str
    class_noun: str
    bytes_stored: int
    drift: Mapping[str, float]


def read_foreign(options: ImportOptions, folder: Path, base: Base) -> Foreign:
    """Read and round what was asked for; raises AdapterError.

    Args:
        options: The request.
        folder: The base's.
        base: What it is.
    """
    if (family := family_named(base.family)).reads_by != "CLIP":
        raise AdapterError(
            f"no adapter is read on a {family.name} base: the dialects that are known name Stable Diffusion's modules; "
            "expected a file of cns export --format delta",
            "cns add NAME IMAGES/",
        )
    modules = Modules(folder)
    vectors = read_vectors(options.embedding, modules.token_widths) if options.embedding else None
    if vectors is None and holds_vectors(options.file):
        found = read_vectors(options.file, modules.token_widths)
        return Foreign("textual inversion", file_sha256(options.file), {}, found, modules=1)
    update = read_update(options.file, modules).times(options.weight)
    exponents = {name: int(facts["exponent"]) for name, facts in base.matrices.items()}
    delta, loss = on_grid(update.changes, exponents)
    scales = tuple(dict.fromkeys((*update.scales[:1], *update.scales[-1:])))
    return Foreign(
        update.dialect, update.sha256, delta, vectors, update.share_outside, scales, update.modules,
        len(update.changes), loss, file_sha256(options.embedding) if options.embedding else "",
    )  # fmt: skip


def read_own(options: ImportOptions, said: Said, base: Base) -> Foreign:
    """Read a concept that `cns export --format delta` wrote, as it is, or times a weight; raises AdapterError.

    Args:
        options: The request.
        said: What the file says of itself.
        base: That of the registry.
    """
    delta, vectors = read_delta(options.file, said, base)
    loss = 0.0
    if options.weight != 1:
        changes = {name: Change(dense(one) * options.weight, one.positions) for name, one in delta.items()}
        delta, loss = on_grid(changes, {name: one.matrix_exponent for name, one in delta.items()})
    return Foreign(
        "cns delta", file_sha256(options.file), delta, vectors, modules=len(delta), matrices=len(delta),
        rounding_loss=loss,
    )  # fmt: skip


def bring_in(
    options: ImportOptions, found: Foreign, photos: ImageSet | None, repo: Repository, tree: Tree, progress: Progress
) -> Imported:
    """Settle token and class noun by the base, and store the concept; raises TokenError, ClassNounError."""
    from cns.tokens import check_new_token
    from cns_cli.porcelain.learning.past import drift_since_birth
    from cns_cli.porcelain.models.session import Session

    progress.stage("load the model")
    session = Session.open(repo, options.device)
    token = options.token or ""
    vectors = found.vectors
    tokens = vector_tokens(token, 1 if vectors is None else len(vectors))
    own = repo.objects.get(tree.concepts[options.name], Concept).tokens if options.name in tree.concepts else ()
    try:
        for one in (one for one in tokens if one not in own):
            check_new_token(session.base.model.pipeline.tokenizer, one)
    except TokenError as error:
        error.hint = error.hint.replace("cns add", "cns import")
        raise
    noun = options.class_noun or _shown(session, options, photos)
    rows = [_row_of(session, noun)] if vectors is None else list(vectors)
    parent = trained_in(tree, options.name)
    concept_id, size = _store(session, options, found, dict(zip(tokens, rows, strict=True)), noun, photos, parent)
    drift: Mapping[str, float] = {}
    if parent.concepts:
        progress.stage("measure the drift of older concepts")
        now = session.set_tree(with_concept(parent, options.name, concept_id, overwrite=True))
        drift = drift_since_birth(session, parent.concepts, now)
    return Imported(concept_id, noun, size, drift)


def _shown(session: Session, options: ImportOptions, photos: ImageSet | None) -> str:
    """What the images show."""
    assert photos is not None
    assert options.images is not None
    base = session.base
    folder = options.images.resolve().name
    return infer_class_noun(
        photos.pixels, photos.captions, base.nouns, base.clip, SURE, folder_name=folder, name=options.name
    ).noun


def _row_of(session: Session, noun: str) -> NDArray[np.float32]:
    """Where a token starts that nothing brings vectors for: at the class noun."""
    from cns.text import class_noun_row

    pipeline = session.base.model.pipeline
    row: NDArray[np.float32] = class_noun_row(pipeline, noun).cpu().numpy()
    return row


def _store(
    session: Session, options: ImportOptions, found: Foreign, rows: Mapping[str, NDArray[np.float32]], noun: str,
    photos: ImageSet | None, parent: Tree,
) -> tuple[str, int]:  # fmt: skip
    """Put the concept and what it needs into the store; return its id and the bytes of its parts there."""
    put, objects = session.repo.objects.put, session.repo.objects
    references = References(None, (), 0, session.base.resolution, {})
    if photos is not None:
        references = session.store_references(photos, options.keep_images)
    data = (codec.encode_rows(rows), *codec.encode(found.delta, "" if found.delta else found.sha256))
    embedding, mask, delta = parts = [put(Blob(one)) for one in data]
    recipe: dict[str, str | None] = {
        "imported": found.sha256,
        **({} if options.kind == "object" else {"kind": options.kind}),
    }
    concept = Concept(options.name, noun, tuple(rows), embedding, mask, delta, recipe, put(references), put(parent))
    return put(concept), sum(objects.path(one).stat().st_size for one in parts)
