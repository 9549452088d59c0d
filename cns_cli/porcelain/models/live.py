"""The pipeline of one revision, for tests that look at images themselves. It can be made anew in place.

A test may change anything in a pipeline: weights, scheduler, tokens. `reset` puts fresh components of the base,
composed with the concepts of a revision, into the very same pipeline object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cns.named import adopt
from cns_cli.porcelain.models.session import Session
from registry.repository import Repository

if TYPE_CHECKING:  # for annotations only; importing it costs seconds
    from diffusers import StableDiffusionPipeline


class LivePipeline:
    """A diffusers pipeline composed at a revision.

    Args:
        repo: The registry.
        rev: The revision.
        device: Where to compute: auto, cpu, cuda or mps.

    Raises:
        UnknownRevision, BaseModelError.
    """

    def __init__(self, repo: Repository, rev: str = "HEAD", device: str = "auto") -> None:
        self.repo, self.rev, self.device = repo, rev, device
        self.pipeline: StableDiffusionPipeline = self._fresh(rev)

    def reset(self, rev: str | None = None) -> StableDiffusionPipeline:
        """Make the pipeline anew, in place, at a revision (its own when None), and return it."""
        fresh = self._fresh(rev or self.rev)
        self.pipeline.register_modules(**fresh.components)
        adopt(self.pipeline, fresh)
        return self.pipeline

    def _fresh(self, rev: str) -> StableDiffusionPipeline:
        tree = self.repo.tree_of(self.repo.resolve(rev))
        session = Session.open(self.repo, self.device)
        session.write(tree)
        return session.base.model.pipeline
