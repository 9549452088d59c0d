"""`cns add`: from a folder of images to a commit.

Whatever can be refused cheaply is refused before torch is imported. The training itself is in `learning.py`; here its
outcome becomes objects, a commit, an MLflow run and a summary.
"""

from __future__ import annotations

import time
from dataclasses import replace

from cns.errors import MethodError
from cns.images import scan_folder
from cns.templates import default_token
from cns_cli.porcelain.init import DEFAULT_BASE, init_registry
from cns_cli.porcelain.options import AddOptions, AddResult, CheckOptions, DryRun
from cns_cli.progress import Progress
from registry.errors import NameTaken, NotARegistry, TokenTaken
from registry.names import check_name
from registry.repository import Repository


def add_concept(options: AddOptions, progress: Progress) -> AddResult | DryRun:
    """Teach the model a concept and commit it, or say what that would take.

    Args:
        options: The request.
        progress: Told of stages, steps, losses.

    Raises:
        BadName, NameTaken, TokenTaken: The name or the token cannot be used; nothing was written.
        ImageError: The folder cannot be used; nothing was written.
        ClassNounError: The class noun is not clear from the images.
        MethodError: The method failed; nothing was committed.
        TipMoved: Somebody else took the name meanwhile; the training is kept under refs/lost/.
    """
    began = time.monotonic()
    check_name(options.name)
    scan_folder(options.images)
    repo = _registry(options, progress)
    if repo is not None:
        _check_free(repo, options)
    progress.stage("load libraries")
    if repo is None or options.dry_run:
        from cns_cli.porcelain.estimate import estimate

        return estimate(options, repo, progress)
    from cns_cli.porcelain.learning import learn  # torch, diffusers: only now

    seen = repo.head().commit
    outcome = learn(options, repo, progress)
    progress.stage("commit")
    done = outcome.commit(seen)
    progress.stage("record in MLflow")
    from cns_cli.porcelain.mlflow import mirror_commit

    warnings = [*outcome.warnings, *mirror_commit(repo, done.id, options.mlflow_uri)]
    if done.rebased:
        warnings.append(f"another commit came first: {options.name} was added on top of it; compare with: cns check")
    rows = None
    if options.check:
        from cns_cli.porcelain.check import check

        wanted = CheckOptions(start=options.start, author=options.author, device=options.device, seed=options.seed)
        rows = check(wanted, progress, session=outcome.session).rows
    result = outcome.summary(done.id, repo.head().branch, time.monotonic() - began)
    return replace(result, images_check=rows, warnings=tuple(warnings))


def _registry(options: AddOptions, progress: Progress) -> Repository | None:
    """The registry here; made on the embedded base where there is none, but not for a dry run."""
    try:
        return Repository.discover(options.start)
    except NotARegistry:
        if options.dry_run:
            return None
        made = init_registry(options.start, DEFAULT_BASE, author=options.author, time=options.time)
        progress.note(f"made a registry on the embedded base model {DEFAULT_BASE} in {made.folder / '.cns'}")
        return Repository(made.folder)


def _check_free(repo: Repository, options: AddOptions) -> None:
    """Refuse a name or a token that the tree has already, and a replacement of nothing."""
    taken = repo.concepts(repo.tree_of(repo.head().commit))
    if options.name in taken and not options.replace:
        raise NameTaken(options.name)
    if options.replace and options.name not in taken:
        raise MethodError(
            f"there is no concept {options.name!r} to replace", f"cns add {options.name} {options.images}"
        )
    token = options.token or default_token(options.name)
    for name, concept in taken.items():
        if token in concept.tokens and name != options.name:
            raise TokenTaken(token, options.name, name)
