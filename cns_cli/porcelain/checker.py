"""Several checks in one process: the base is loaded once, and only when a check needed images.

`check` opens the base by itself when an evaluation is missing, and lets it go. Whoever checks again and again (a
bisection, a test run) asks a `Checker`, which keeps the base from the second check that needs it on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

from cns_cli.porcelain.answers import CheckResult
from cns_cli.porcelain.check import check
from cns_cli.porcelain.options import CheckOptions
from cns_cli.porcelain.thresholds import GROWTHS
from cns_cli.progress import NullProgress, Progress
from registry.repository import Repository

if TYPE_CHECKING:  # it loads torch
    from cns_cli.porcelain.session import Session

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
    free = {name: -NO_LIMIT for name in metrics if name not in GROWTHS}
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
            from cns_cli.porcelain.session import Session

            self.progress.stage("load the model")
            self._session = Session.open(self.repo, self.device)
        result = check(options, self.progress, self._session)
        self._needs_base = self._needs_base or result.images_made > 0
        return result
