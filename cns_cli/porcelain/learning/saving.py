"""Keeping the state of a training on disk while it runs, for `cns add --resume`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import diffusers
import torch
import transformers

from cns.errors import CodecError, MethodError
from cns.resume import TrainingState, decode, encode
from cns.task import Settings
from cns_cli import __version__
from cns_cli.porcelain.learning.resume import differences, differs, facts_of, key_of, model_of
from cns_cli.porcelain.learning.subject import Subject
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import AddOptions
from cns_cli.progress import Progress
from registry import fsio
from registry.errors import RegistryError
from registry.objects import Tree
from registry.pending import Pending, State, StateCorrupt

INTERVAL_S = 5.0
"""At least so long between two writes: what a kill may cost."""

SHARE = 0.01
"""Share of the time that writing may take: after a slow write the next one waits longer."""


class Saver:
    """A `cns.resume.Checkpoint` that writes a state now and then, and the last one when the block is left by force.

    A state of the same request that is further along stays: the same request leads to the same bits, so it is this
    training's own future.

    Args:
        pending: Where.
        options: The request as it was given.
        request: What the bits hang on.
        settings: Its settings, for the number of steps.
        progress: Told when states cannot be written.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        pending: Pending,
        options: AddOptions,
        request: Mapping[str, Any],
        settings: Settings,
        progress: Progress,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pending, self._options, self._request, self._progress = pending, options, request, progress
        self._warmup, self._steps = settings.warmup_steps, settings.steps
        self._key, self._clock = key_of(request), clock
        self._latest: TrainingState | None = None
        self._works = True
        self._next = clock() + INTERVAL_S
        self._kept = max((one.progress for one in self._stored()), default=(-1, 0))

    def restore(self, state: State) -> TrainingState:
        """Read the state to go on from.

        Raises:
            MethodError: It belongs to another request.
            StateCorrupt: It is damaged.
        """
        if state.key != self._key:
            unlike = differences(state.facts["request"], self._request) or ["its request is another"]
            raise differs(self._options, state, unlike)
        try:
            return decode(self._pending.load(state))
        except CodecError as error:
            raise StateCorrupt(state.name, state.path, f"does not hold a state: {error.message}") from error

    def __call__(self, state: TrainingState, /, *, due: bool) -> None:
        """Take the state after a step, and write it when it is due."""
        self._latest = state
        if due or self._clock() >= self._next:
            self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, MethodError):  # it would fail there again
            fsio.remove(self._pending.path(self._options.name, self._key))
        elif kind is not None:
            self._write()

    def _write(self) -> None:
        state = self._latest
        if state is None or not self._works or state.progress <= self._kept:
            return
        began = self._clock()
        done = state.step + (self._warmup if state.stage == "finetuning" else 0)
        facts = facts_of(self._options, self._request, done, self._warmup + self._steps)
        try:
            self._pending.save(self._options.name, self._key, facts, encode(state))
        except RegistryError as failure:
            self._works = False
            self._progress.note(f"{failure.message}; the training goes on, but could not be resumed")
            return
        self._kept = state.progress
        now = self._clock()
        self._next = now + max(INTERVAL_S, (now - began) / SHARE)

    def _stored(self) -> Iterator[TrainingState]:
        """The states of this very request on disk: one, or none that is whole."""
        for state in self._pending.all():
            if (state.name, state.key) == (self._options.name, self._key):
                with contextlib.suppress(StateCorrupt, CodecError):
                    yield decode(self._pending.load(state))


def request_of(
    session: Session, subject: Subject, parent: Tree, settings: Settings, replaces: str | None
) -> dict[str, Any]:
    """Everything that the bits of a training hang on, as plain values: two equal requests end in one concept.

    Args:
        session: The registry and the base.
        subject: What is to be learned.
        parent: The tree that it is learned on.
        settings: How.
        replaces: Id of the concept whose name it takes.
    """
    images = subject.images
    files = {image.name: image.sha256 for image in images.images if image.sha256}  # others are in the registry
    return {
        "name": subject.name,
        "class_noun": subject.class_noun,
        "token": subject.token,
        "images": files,
        "captions": list(images.captions),
        **({"masks": images.mask_digests} if images.mask_digests else {}),
        "resolution": int(images.pixels.shape[1]),
        **subject.kind_of_style,
        **({"continues": subject.continues} if subject.continues else {}),
        "settings": settings.plain(),
        "base": parent.base,
        "concepts": dict(parent.concepts),
        **model_of(parent),
        "replaces": replaces,
        "device": str(session.base.device),
        "versions": {
            "cns": __version__,
            **library_versions(settings.plugins),
        },
    }


def library_versions(plugins: Mapping[str, str]) -> dict[str, str]:
    """Versions of the libraries that a training's bits hang on, and of the packages that gave parts of the method."""
    libraries = {"torch": torch, "diffusers": diffusers, "transformers": transformers}
    versions = {name: str(library.__version__) for name, library in libraries.items()}
    return versions | {f"plugin {what}": package for what, package in plugins.items()}
