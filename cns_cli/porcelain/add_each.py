"""`cns add --each FOLDER`: a concept from each folder in a folder, named after it.

Each is a request of `cns add` and a commit of its own. One that cannot be taught does not stop the others; what is
there already is skipped, and an interrupted training goes on, so the same command typed again does what is left.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cns.errors import ImageError, MethodError
from cns.files.captions import TRIGGER, kohya_folder
from cns.files.images import natural_order, scan_folder
from cns.files.maskfiles import is_mask_folder
from cns_cli.porcelain.add import add_concept
from cns_cli.porcelain.answers import DryRun, EachResult, EachRow
from cns_cli.porcelain.learning.interrupted import option_words, pending_views
from cns_cli.porcelain.options import AddOptions
from cns_cli.progress import Progress
from cns_cli.signals import Interrupted
from registry.errors import NotARegistry, RegistryError
from registry.repository import Repository

USAGE, METHOD = 2, 5  # as `cns_cli.errors.ExitCode`, which a door need not load
IS_THERE = "it is there already; --replace teaches it anew"


def add_each(options: AddOptions, folder: Path, progress: Progress) -> EachResult:
    """Teach the model a concept from each folder in a folder; or, with `dry_run`, say what would be taught.

    Args:
        options: What is the same for all of them; name and images are those of each folder.
        folder: Where the folders are; those of masks, hidden ones, links and those without an image are left out.
        progress: Told of stages, steps, losses.

    Raises:
        ImageError: There is no folder with images in it.
        Interrupted: A signal came; what was committed before stands.
    """
    folders = concept_folders(folder)
    command = shlex.join(["cns", "add", "--each", str(folder), *option_words(options)])
    rows: list[EachRow] = []
    for number, images in enumerate(folders, 1):
        one = replace(options, name=concept_name(images.name), images=images)
        progress.note(f"{number} of {len(folders)}: {one.name or images.name}, from {images}")
        try:
            rows.append(_row(one, rows, progress))
        except Interrupted as stop:
            added = sum(row.outcome == "added" for row in rows)
            before = f"; {added} of {len(folders)} were added before it" if added else ""
            raise Interrupted(stop.number, f"{stop.message}{before}", command) from None
    left = tuple(_left(folder, folders))
    return EachResult(folder=folder, rows=tuple(rows), dry_run=options.dry_run, command=command, left=left)


def concept_folders(folder: Path) -> list[Path]:
    """The folders in a folder that hold the images of a concept, in the order of their names.

    Raises:
        ImageError: There is none.
    """
    found = [path for path in _folders_in(folder) if _has_images(path)]
    if not found:
        raise ImageError(
            f"no folder with images in {folder}: expected one for each concept, such as {folder / 'rex'}",
            f"cns add NAME {shlex.quote(str(folder))}   (if the images of one concept are in it)",
            folder=folder,
        )
    return found


def _folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, but for hidden ones, links and those of masks."""
    inside = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    wanted = [path for path in inside if not path.name.startswith(".") and not is_mask_folder(path)]
    return sorted(wanted, key=natural_order)


def concept_name(folder: str) -> str:
    """The name of the concept of a folder: its own, as far as a name may have its letters; "" if nothing is left.

    Of kohya's folders, `10_rex dog`, it is the trigger, and where that is a word that says nothing (`sks`) the class.
    """
    trigger, noun = kohya_folder(folder)
    if trigger:
        folder = noun if TRIGGER.fullmatch(trigger) else trigger
    plain = unicodedata.normalize("NFKD", folder).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-_")[:64]


def _row(options: AddOptions, before: Sequence[EachRow], progress: Progress) -> EachRow:
    """Teach one of them, and say what came of it."""
    row = EachRow(name=options.name, folder=options.images, outcome="failed")
    if twin := next((one for one in before if one.name == options.name), None):
        return replace(row, why=f"{twin.folder.name} has this name, too: rename one of the folders", code=USAGE)
    repo = _registry(options.start)
    if repo is not None and options.name in repo.tree_of(repo.head().commit).concepts and not options.replace:
        return replace(row, outcome="skipped", why=IS_THERE)
    waits = repo is not None and not options.dry_run and options.name in {view.name for view in pending_views(repo)}
    try:
        result = add_concept(replace(options, resume=waits), progress)
    except (MethodError, RegistryError) as error:
        from cns_cli.errors import exit_code

        said, hint = (str(getattr(error, part, "")) for part in ("message", "hint"))
        return replace(row, why=said, hint=hint, code=int(exit_code(error)))
    if isinstance(result, DryRun):
        return _planned(row, result)
    taken = {name: getattr(result, name) for name in ("class_noun", "images", "captions", "masks", "commit")}
    new = tuple(warning for warning in result.warnings if warning not in result.noticed)
    gain = (result.identity_before, result.identity_after)
    return replace(row, outcome="added", confidence=result.class_confidence, identity=gain, warnings=new, **taken)


def _planned(row: EachRow, would: DryRun) -> EachRow:
    """What would be taught; where the class noun is not clear, it would be refused."""
    noun, sure = would.class_nouns[0] if would.class_nouns else (would.class_noun, None)
    taken = {name: getattr(would, name) for name in ("images", "captions", "masks", "seconds", "warnings")}
    row = replace(row, outcome="planned", class_noun=noun, confidence=sure, **taken)
    if len(would.class_nouns) < 2:
        return row
    return replace(row, outcome="failed", why=would.warnings[0], warnings=would.warnings[1:], code=METHOD)


def _registry(start: Path) -> Repository | None:
    try:
        return Repository.discover(start)
    except NotARegistry:
        return None


def _left(folder: Path, folders: Sequence[Path]) -> Iterator[str]:
    """What a person may have meant as a concept, too: pictures beside the folders, and folders without one."""
    if _has_images(folder):
        yield f"the images in {folder} itself are left out: a concept's lie in a folder of its own"
    if empty := [path.name for path in _folders_in(folder) if path not in folders]:
        yield f"left out, without an image: {', '.join(empty[:5])}{', ...' if len(empty) > 5 else ''}"


def _has_images(folder: Path) -> bool:
    try:
        return bool(scan_folder(folder))
    except ImageError as error:
        return "no image" not in error.message  # one with too many is refused by its name, and not left out
