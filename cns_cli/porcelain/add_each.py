"""`cns add --each FOLDER` and `--plan FILE`: many concepts, each a request of `cns add` and a commit of its own.

One that cannot be taught does not stop the others; what is there already is skipped, and an interrupted training goes
on, so the same command typed again does what is left. Where prompts see what they name, concepts are learned apart from
each other, and several processes may do so at once: their commits stand in the order in which they end.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cns.errors import ImageError, MethodError
from cns.files.captions import TRIGGER, kohya_folder
from cns.files.images import natural_order, scan_folder
from cns.files.maskfiles import is_mask_folder
from cns_cli.porcelain.add import add_concept, new_registry, registry_near
from cns_cli.porcelain.answers import DryRun, EachResult, EachRow
from cns_cli.porcelain.learning.interrupted import option_words, pending_views
from cns_cli.porcelain.learning.plan import read_plan
from cns_cli.porcelain.models.kept import Kept
from cns_cli.porcelain.options import HERE, AddOptions, Spread
from cns_cli.progress import Progress
from cns_cli.signals import Interrupted, number_of
from cns_cli.workers import Work, Workers
from registry.errors import RegistryError

USAGE, METHOD = 2, 5  # as `cns_cli.errors.ExitCode`, which a door need not load
IS_THERE = "it is there already; --replace teaches it anew"
PATIENCE_S = 60.0  # until a training that was asked to end is killed: it ends, and is saved, behind a step


def add_each(options: AddOptions, folder: Path, progress: Progress, spread: Spread = HERE) -> EachResult:
    """Teach the model a concept from each folder in a folder; or, with `dry_run`, say what would be taught.

    Args:
        options: What is the same for all of them; name and images are those of each folder.
        folder: Where the folders are; those of masks, hidden ones, links and those without an image are left out.
        progress: Told of stages, steps, losses.
        spread: How many are taught at once, and on which devices; without any, on each request's own.

    Raises:
        ImageError: There is no folder with images in it.
        MethodError: Several were to be taught at once where each is learned on those before it.
        Interrupted: A signal came; what was committed before stands.
    """
    folders = concept_folders(folder)
    requests = [replace(options, name=concept_name(images.name), images=images) for images in folders]
    result = _teach(requests, options, ("--each", folder), progress, spread)
    return replace(result, left=tuple(_left(folder, folders)))


def add_plan(options: AddOptions, plan: Path, progress: Progress, spread: Spread = HERE) -> EachResult:
    """Teach the model the concepts of a plan, as `add_each` those of a folder.

    Args:
        options: What was typed, which wins over what the plan says.
        plan: A TOML file, see `learning/plan.py`.
        progress: Told of stages, steps, losses.
        spread: As of `add_each`.

    Raises:
        BadConfig: The plan says what cannot be meant; nothing was taught.
        MethodError, Interrupted: As `add_each`.
    """
    return _teach(read_plan(plan, options), options, ("--plan", plan), progress, spread)


def _teach(
    requests: Sequence[AddOptions], options: AddOptions, source: tuple[str, Path], progress: Progress, spread: Spread
) -> EachResult:
    """Do every request that can be done, and say what came of each."""
    words = ["cns", "add", source[0], str(source[1]), *option_words(options)]
    command = shlex.join([*words, *option_words(spread)])
    if spread.devices:
        requests = [replace(one, device=spread.devices[0]) for one in requests]
    before = _concepts(options)
    settled = [_twin(one, requests[:number]) or _is_there(one) for number, one in enumerate(requests)]
    waiting = [number for number, row in enumerate(settled) if row is None]
    places = () if options.dry_run else spread.places[: len(waiting)]
    if len(places) > 1:
        _check_apart(options, progress, shlex.join(words))
    todo = [requests[number] for number in waiting]
    rows = {number: row for number, row in enumerate(settled) if row is not None}
    try:
        for at, row in _beside(todo, progress, places) if len(places) > 1 else _in_turn(todo, progress):
            rows[waiting[at]] = row
    except KeyboardInterrupt as stop:
        raise Interrupted(number_of(stop), _so_far(stop, requests, before), command) from None
    found = tuple(rows[number] for number in range(len(requests)))
    return EachResult(folder=source[1], rows=found, dry_run=options.dry_run, command=command)


def _in_turn(requests: Sequence[AddOptions], progress: Progress) -> Iterator[tuple[int, EachRow]]:
    kept = Kept()
    for number, one in enumerate(requests):
        progress.note(f"{number + 1} of {len(requests)}: {one.name or one.images.name}, from {one.images}")
        yield number, _row(one, progress, kept)


def _beside(requests: Sequence[AddOptions], progress: Progress, places: Sequence[str]) -> Iterator[tuple[int, EachRow]]:
    """Several at once; what no process answered is done here, and meets its error here."""
    progress.stage(f"teach in {len(places)} processes", len(requests))
    left, steps = dict(enumerate(requests)), 0

    def told(more: int) -> None:
        nonlocal steps
        steps += more
        progress.step(len(requests) - len(left), steps=steps)

    with Workers(_opened, places, patience_s=PATIENCE_S) as workers:
        for number, row in workers.each(requests, told):
            del left[number]
            progress.note(f"{len(requests) - len(left)} of {len(requests)}: {row.name} {row.outcome}")
            told(0)
            yield number, row
    for (number, _), (_, row) in zip(left.items(), _in_turn([*left.values()], progress), strict=True):
        yield number, row


class _Steps(Progress):
    """Says how many steps more are done."""

    def __init__(self, told: Callable[[int], None]) -> None:
        self._told, self._done = told, 0

    def stage(self, *_about: object) -> None:
        """Count from nothing."""
        self._done = 0

    def step(self, done: int, **_numbers: float) -> None:
        """Say it."""
        self._told(done - self._done)
        self._done = done


def _opened(place: str, processes: int) -> Work:
    """Let a process teach on a device, or on each request's own, with its share of the cores."""
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    kept = Kept()
    where = {} if place == "auto" else {"device": place}
    return lambda options, told: _row(replace(options, **where), _Steps(told), kept)


def _check_apart(options: AddOptions, progress: Progress, command: str) -> None:
    """Refuse several at once where each is learned on those before it."""
    repo = registry_near(options.start) or new_registry(options, progress)
    if repo.tree_of(repo.head().commit).compose != "named":
        raise MethodError(
            "several at once are concepts that are learned apart from each other, and here each is learned on those "
            "before it (cns config compose): expected neither --jobs nor several --devices",
            command,
        )


def _so_far(stop: KeyboardInterrupt, requests: Sequence[AddOptions], before: Mapping[str, str]) -> str:
    """What an interruption leaves."""
    options, names = requests[0], {one.name for one in requests}
    now, repo = _concepts(options), registry_near(options.start)
    kept = [
        f"the training of {view.name} is kept at step {view.done} of {view.total}"
        for view in (pending_views(repo) if repo else ())
        if view.name in names
    ]
    said = [text] if (text := str(getattr(stop, "message", ""))) else kept
    if added := sum(now.get(name) not in (None, before.get(name)) for name in names):
        said = [*said, f"{added} of {len(requests)} were added before it"]
    return "; ".join(said) or "nothing was committed"


def _concepts(options: AddOptions) -> Mapping[str, str]:
    """Ids of what HEAD has, by name."""
    repo = registry_near(options.start)
    return {} if repo is None else repo.tree_of(repo.head().commit).concepts


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


def _twin(options: AddOptions, before: Sequence[AddOptions]) -> EachRow | None:
    """Refuse the second one of a name."""
    twin = next((one for one in before if one.name == options.name), None)
    why = f"{twin.images.name} has this name, too: rename one of the folders" if twin else ""
    return replace(_failed(options), why=why, code=USAGE) if twin else None


def _is_there(options: AddOptions) -> EachRow | None:
    """Skip what HEAD has."""
    if options.name not in _concepts(options) or options.replace:
        return None
    return replace(_failed(options), outcome="skipped", why=IS_THERE)


def _failed(options: AddOptions) -> EachRow:
    return EachRow(name=options.name, folder=options.images, outcome="failed")


def _row(options: AddOptions, progress: Progress, kept: Kept) -> EachRow:
    """Teach one of them, and say what came of it."""
    if row := _is_there(options):  # by now
        return row
    row, repo = _failed(options), registry_near(options.start)
    waits = repo is not None and not options.dry_run and options.name in {view.name for view in pending_views(repo)}
    try:
        result = add_concept(replace(options, resume=waits), progress, kept)
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
