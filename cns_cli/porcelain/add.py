"""`cns add`: from a folder of images to a commit.

Whatever can be refused cheaply is refused before torch is imported. The training itself is in `learning/`; here its
outcome becomes objects, a commit, an MLflow run and a summary.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cns.errors import MethodError
from cns.files.bases import resolution_of, resolve_base
from cns.files.captions import folder_repeats
from cns.files.images import ImageSet, load_images
from cns.judges.classnoun import clean_noun
from cns.templates import default_token
from cns_cli.porcelain.answers import AddResult, CheckResult, DryRun
from cns_cli.porcelain.init import init_registry
from cns_cli.porcelain.learning.continuing import check_kept, side_of
from cns_cli.porcelain.learning.interrupted import command_of, flag_of, pending_views, told
from cns_cli.porcelain.learning.names import check_free_tokens
from cns_cli.porcelain.learning.resume import continued
from cns_cli.porcelain.models.device import asked_dtype
from cns_cli.porcelain.models.folder import base_folder, check_own_base
from cns_cli.porcelain.models.kept import Kept
from cns_cli.porcelain.options import DEFAULT_BASE, DEFAULT_COMPOSE, AddOptions, CheckOptions
from cns_cli.porcelain.refs import shadowed
from cns_cli.porcelain.scoring.names import check_names
from cns_cli.porcelain.views.commits import record_data
from cns_cli.porcelain.views.concepts import introductions
from cns_cli.progress import Progress
from registry import fsio
from registry.canonical import check_text
from registry.errors import DeltaTaken, DiskFailed, NameTaken, NotARegistry, NothingToDo, TipMoved
from registry.names import check_new_name
from registry.pending import Pending, State
from registry.repository import Committed, Repository
from registry.signals import held

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds
    from cns_cli.porcelain.learning.addition import Addition


def add_concept(options: AddOptions, progress: Progress, kept: Kept | None = None) -> AddResult | DryRun:
    """Teach the model a concept and commit it, or say what that would take.

    Args:
        options: The request.
        progress: Told of stages, steps, losses.
        kept: Keeps the base for the next one; None: it is loaded for this one.

    Raises:
        BadName, NameTaken, TokenTaken: The name or the token cannot be used; nothing was written.
        ImageError: The folder cannot be used; nothing was written.
        ClassNounError: The class noun is not clear from the images.
        MethodError: The method failed, or there is nothing to resume; nothing was committed.
        StateCorrupt: The training to resume left a damaged state.
        Interrupted: A signal came; its message says what is left and what goes on with it.
        TipMoved: Somebody else took the name meanwhile; the training is kept under refs/lost/.
    """
    began = time.monotonic()
    interrupted = None
    if options.name or not options.resume:
        check_new_name(options.name)
    if options.class_noun is not None:
        options = replace(options, class_noun=clean_noun(options.class_noun))
    if options.resume:
        options, interrupted = continued(options, Repository.discover(options.start))
    options = _in_format(options)
    photos, repo = _begin(options, interrupted, progress)
    progress.stage("load libraries")
    if repo is None or options.dry_run:
        return _dry_run(options, photos, repo, progress, kept or Kept())
    return _add(options, photos, repo, progress, interrupted, kept, began)


def _dry_run(options: AddOptions, photos: ImageSet, repo: Repository | None, progress: Progress, kept: Kept) -> DryRun:
    """Say what it would take. Gigabytes of a base are compared with its digests while libraries are imported."""
    with ThreadPoolExecutor(1) as beside:
        check = beside.submit(check_own_base, repo) if repo and kept.empty else None
        from cns_cli.porcelain.learning.estimate import estimate

        return estimate(options, photos, repo, progress, kept, check.result if check else None)


def _begin(options: AddOptions, interrupted: State | None, progress: Progress) -> tuple[ImageSet, Repository | None]:
    """Refuse what can be refused without torch; return the photos and the registry, made on the embedded base if new.

    A dry run makes no registry. The photos are read here, once, at the side of the base's own images.
    """
    for what, text in (("message", options.message), ("author", options.author), ("class noun", options.class_noun)):
        check_text(text or "", what)
    check_names(options.score, options.reg)
    repo = registry_near(options.start)
    if repo is not None and not options.dry_run:
        fsio.require_writable(repo.folder)
    base = resolve_base(DEFAULT_BASE) if repo is None else base_folder(repo)
    side = side_of(repo, options) or resolution_of(base)
    photos = load_images(options.images, side, masks=options.masks, further=options.continues)
    if repo is None and not options.dry_run:
        repo = new_registry(options, progress)
    _check_meaning(repo, options)
    if (repeats := folder_repeats(options.images.resolve().name)) and options.repeats is None:
        progress.note(
            f"{repeats}_ in the folder's name, kohya's repeats, weighs folders against each other, and has no meaning "
            "for one: --repeats says how often each image is seen in all, --steps the same in steps"
        )
    if repo is not None:
        _check_free(repo, options)
        for view in pending_views(repo) if interrupted is None and not options.dry_run else ():
            if view.name == options.name:
                progress.note(
                    f"a training of {view.name} was interrupted at step {view.done} of {view.total}; this one starts "
                    f"anew, and that one is kept until {view.name} is committed; to go on with it: {view.command}"
                )
        notes = (*shadowed(repo, options.name), *_learned_before(repo, options.name, photos))
        photos = replace(photos, warnings=(*photos.warnings, *notes))
    return photos, repo


def new_registry(options: AddOptions, progress: Progress) -> Repository:
    """Make the registry of a first concept, on the embedded base."""
    made = init_registry(options.start, DEFAULT_BASE, author=options.author, time=options.time)
    progress.note(f"made a registry on the embedded base model {DEFAULT_BASE} in {made.folder / '.cns'}")
    return Repository(made.folder)


def registry_near(start: Path) -> Repository | None:
    """Open the registry of a folder; None: there is none."""
    try:
        return Repository.discover(start)
    except NotARegistry:
        return None


def _in_format(options: AddOptions) -> AddOptions:
    """The request in the format that was typed, else that a concept is in that goes on, else of `config.toml`."""
    repo, asked = registry_near(options.start), options.dtype
    if repo is not None and options.continues and asked == "auto":
        tree = repo.tree_of(head := repo.head().commit)
        if options.name in tree.concepts:
            params = record_data(repo, introductions(repo, head, tree)[options.name][1]).get("params")
            asked = params.get("dtype", asked) if isinstance(params, dict) else asked
    if repo is not None:
        asked = asked_dtype(repo, asked)
    if asked == "float16":
        raise MethodError(
            "float16 is too short to train in, its gradients vanish: expected float32 or bfloat16",
            command_of(replace(options, dtype="bfloat16")),
        )
    return replace(options, dtype=asked)


def _learned_before(repo: Repository, name: str, photos: ImageSet) -> Iterator[str]:
    """Say which concepts have these very images: with the same settings the same would come out, or it is a rename."""
    head, mine = repo.head().commit, {image.sha256 for image in photos.images}
    if name in repo.tree_of(head).concepts:  # by which no other can be called
        return
    for other, (_, commit) in introductions(repo, head, repo.tree_of(head)).items():
        digests = record_data(repo, commit).get("image_digests")
        if other != name and isinstance(digests, dict) and set(digests.values()) == mine:
            yield f"these are the images of {other}, too; to call that otherwise: cns mv {other} {name}"


def _add(
    options: AddOptions,
    photos: ImageSet,
    repo: Repository,
    progress: Progress,
    interrupted: State | None,
    kept: Kept | None,
    began: float,
) -> AddResult:
    seen, recorded = repo.head().commit, False
    before = repo.tree_of(seen)
    try:
        from cns_cli.porcelain.learning.learn import learn  # torch, diffusers: only now

        outcome = learn(options, photos, repo, progress, interrupted, kept)
        progress.stage("commit")
        done = _commit(outcome, seen)
        progress.stage("record in MLflow")
        from cns_cli.porcelain.models.mirroring import mirror_commit

        with _standing(options.name, done):
            with held(patience=1):
                warnings = [*outcome.warnings, *mirror_commit(repo, done.id, options.mlflow_uri)]
                recorded = True
            if done.rebased and outcome.compose == "all":  # by name, no other concept can have changed
                warnings.append(
                    f"another commit came first: {options.name} was added on top of it; compare with: cns check"
                )
            checked = _checked(options, outcome, progress) if options.check else None
    except KeyboardInterrupt as stop:
        raise told(stop, repo, options, before, recorded=recorded) from None
    result = outcome.summary(done.id, repo.head().branch, time.monotonic() - began)
    if outcome.compose == "named":
        result = replace(result, untouched=tuple(sorted(before.concepts.keys() - {options.name})))
    if checked is None:
        return replace(result, warnings=tuple(warnings))
    return replace(result, images_check=checked.rows, warnings=(*warnings, *checked.warnings))


@contextlib.contextmanager
def _standing(name: str, done: Committed) -> Iterator[None]:
    """Within the block, an error says that the commit stands."""
    try:
        yield
    except Exception as error:
        error.add_note(f"{name} is committed as {done.id[:10]}")
        raise


def _commit(outcome: Addition, seen: str) -> Committed:
    """Commit, and drop the saved states of the training: it is in history now, or kept under refs/lost."""
    pending = Pending(outcome.session.repo.folder)
    name = outcome.options.name
    try:
        done = outcome.commit(seen)
    except (TipMoved, NothingToDo):
        pending.remove(name)
        raise
    except DeltaTaken as same:  # the same images and settings; to go on with it would come to the same
        pending.remove(name)
        raise same.told_of(name) from None
    with contextlib.suppress(DiskFailed):  # the commit stands, and a state of a committed training is never offered
        pending.remove(name)
    return done


def _checked(options: AddOptions, outcome: Addition, progress: Progress) -> CheckResult:
    from cns_cli.porcelain.check import check

    wanted = CheckOptions(
        start=options.start, author=options.author, mlflow_uri=options.mlflow_uri, device=options.device,
        seed=options.seed, dtype=options.dtype,
    )  # fmt: skip
    return check(wanted, progress, session=outcome.session)


def _check_meaning(repo: Repository | None, options: AddOptions) -> None:
    """Refuse options about earlier concepts where none has a part in the training."""
    compose = DEFAULT_COMPOSE if repo is None else repo.tree_of(repo.head().commit).compose
    given = [name for name in ("past_vote", "reg_strength") if getattr(options, name) is not None]
    if compose == "named" and given:
        raise MethodError(
            f"{' and '.join(map(flag_of, given))} would be about earlier concepts, and prompts about {options.name} "
            "see none here (cns config compose): it is learned on the base alone, to which --anchor ties it",
            command_of(replace(options, past_vote=None, reg_strength=None)),
        )


def _check_free(repo: Repository, options: AddOptions) -> None:
    """Refuse a name or a token that the tree has already, and a replacement of nothing."""
    taken = repo.concepts(repo.tree_of(repo.head().commit))
    if options.name in taken and not (options.replace or options.continues):
        raise NameTaken(options.name)
    if (options.replace or options.continues) and options.name not in taken:
        command = command_of(replace(options, replace=False, continues=False))
        what = "replace" if options.replace else "go on from"
        raise MethodError(f"there is no concept {options.name!r} to {what}", command)
    if options.continues:
        check_kept(options)
        return
    check_free_tokens(options.token or default_token(options.name), options.name, taken, options.vectors)
