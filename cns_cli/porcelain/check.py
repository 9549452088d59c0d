"""The forgetting gate: every concept of a revision against its own baseline, image by image.

A concept's baseline is the tree that it was trained on plus itself, found by content, or the tree of `--since`. Both
are scored under one protocol with the same seeds. What is undecided draws more images, as many as will probably tell,
and what was judged before, by whomever, is never left out: so fewer images can never make an answer greener.

`check` opens the base by itself when an evaluation is missing, and lets it go. Whoever checks again and again (a
bisection, a test run) asks a `Checker`, which keeps the base from the second check that needs it on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cns_cli.porcelain.answers import CheckResult
from cns_cli.porcelain.gate.setup import protocol_for
from cns_cli.porcelain.options import CheckOptions
from cns_cli.porcelain.scoring.scores import stored_scores
from cns_cli.progress import NullProgress, Progress
from registry.repository import Repository

if TYPE_CHECKING:  # what they import costs seconds, and a check of stored scores needs neither
    from cns_cli.porcelain.models.session import Session
from typing import TYPE_CHECKING, TypedDict

from cns_cli.porcelain.gate.run import CheckRun
from cns_cli.porcelain.metrics import grows

if TYPE_CHECKING:  # it loads torch
    from cns_cli.porcelain.models.session import Session


__all__ = ["CheckOptions", "CheckResult", "check", "protocol_for", "stored_scores"]


def check(options: CheckOptions, progress: Progress | None = None, session: Session | None = None) -> CheckResult:
    """Check a revision for forgetting.

    Args:
        options: Revision, concepts, metrics, limits.
        progress: Told of progress.
        session: An open session to use; opened when None and needed.

    Raises:
        UnknownRevision, UnknownConcept.
        SettingsError, BadConfig: A setting cannot be meant, or there are fewer prompts than the baseline has.
        EncoderMissingError: A judge is not there. A score that cannot be computed is no error but a failed row.
    """
    run = CheckRun(options, progress or NullProgress(), session)
    if not run.chosen:
        return run.result({}, ())
    try:
        return run.decide()
    finally:
        run.pool.close()


NO_LIMIT = 1e9
"""A drop allowed, or with a minus a least score, that decides nothing."""


class Limits(TypedDict):
    """The two kinds of limits of `CheckOptions`."""

    max_drop: Mapping[str, float]
    minimum: Mapping[str, float]


def only_these(minimum: Mapping[str, float], metrics: tuple[str, ...]) -> Limits:
    """Limits for `CheckOptions` by which nothing but these least scores decides, whatever config files say.

    So a check whose limits are far away is never undecided, and makes no more images than it was asked for.
    """
    free = {name: -NO_LIMIT for name in metrics if not grows(name)}
    return {"max_drop": dict.fromkeys(("", *metrics), NO_LIMIT), "minimum": {**free, **minimum}}


class Checker:
    """Runs checks of one registry.

    Args:
        repo: The registry.
        device: Where to compute: auto, cpu, cuda or mps.
        progress: Told of progress.
    """

    def __init__(self, repo: Repository, device: str = "auto", progress: Progress | None = None) -> None:
        self.repo, self.device, self.progress = repo, device, progress or NullProgress()
        self._session: Session | None = None
        self._needs_base = False

    def check(self, options: CheckOptions) -> CheckResult:
        """Check as `cns_cli.porcelain.check.check` does."""
        if self._needs_base and self._session is None:
            from cns_cli.porcelain.models.session import Session

            self.progress.stage("load the model")
            self._session = Session.open(self.repo, self.device, dtype="auto")
        result = check(options, self.progress, self._session)
        self._needs_base = self._needs_base or result.images_made > 0
        return result
