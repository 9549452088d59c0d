"""Writing a revision's model for other programs, in the format of a module of `exchange/`.

What can be refused is refused before torch is imported.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

from cns_cli.files import new_folder
from cns_cli.porcelain import exchange
from cns_cli.porcelain.answers import ExportResult
from cns_cli.progress import NullProgress, Progress
from registry.errors import RegistryError
from registry.repository import Repository

FORMATS = {
    found.name: import_module(f"{exchange.__name__}.{found.name}") for found in pkgutil.iter_modules(exchange.__path__)
}
"""Format -> its module, with `write(session with the tree set, folder to fill, dtype)` and `loading_lines`."""

DTYPES = ("fp32", "fp16", "bf16")


def export(
    rev: str, kind: str, folder: Path, dtype: str, start: Path, progress: Progress | None = None
) -> ExportResult:
    """Export the model of a revision.

    Args:
        rev: The revision.
        kind: Key of `FORMATS`.
        folder: Must not exist, or be empty. It appears whole or not at all.
        dtype: fp32, fp16 or bf16.
        start: Where to look for the registry.
        progress: Told of progress.

    Raises:
        UnknownRevision.
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
    tree = repo.tree_of(commit)
    progress = progress or NullProgress()
    progress.stage("load libraries")
    from cns_cli.porcelain.models.session import Session

    progress.stage("write the model")
    session = Session.open(repo, "cpu")
    session.set_tree(tree)
    with new_folder(folder) as building:
        FORMATS[kind].write(session, building, dtype)
    warnings = () if dtype == "fp32" else (f"{dtype} rounds the concepts' changes; fp32 is exact",)
    return ExportResult(
        folder=folder,
        format=kind,
        commit=commit,
        dtype=dtype,
        bytes_written=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        tokens={name: next(iter(concept.rows)) for name, concept in session.concepts(tree).items()},
        load=FORMATS[kind].loading_lines(folder, dtype),
        warnings=warnings,
    )


def _refuse_unusable(folder: Path) -> None:
    """Refuse a place where no new folder can appear as a whole."""
    hint = "cns export --format diffusers NEW_FOLDER"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RegistryError(f"'{folder}' exists and is not an empty folder", hint)
    if not folder.name:
        why = "has no name of its own, by which it could be put in place as a whole"
        raise RegistryError(f"'{folder}' {why}: expected a new folder", hint)
