"""Features of generated images: made a tree at a time, kept in the registry's cache.

Scores are products of these features with others, so a metric that is asked for later, or a class noun that two
concepts share, needs no new image. A file holds the features of image number k of each prompt of one list; the cache
may be deleted at any time, and a damaged file is made again. What is drawn beside it moves the last bits of a picture:
no other batch than its list's own, so that features are the same whoever draws what else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from cns.judges.encoders import ImageEncoder
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.scoring.judging import Features
from cns_cli.porcelain.scoring.protocol import image_seed
from cns_cli.progress import Stages
from registry import fsio
from registry.errors import DiskFailed
from registry.objects import Tree


@dataclass(frozen=True)
class ImageSpan:
    """Images number first..last-1 of each of some prompts, by the model of a tree."""

    tree: Tree
    prompts: tuple[str, ...]
    first: int
    last: int
    digest: str


class FeatureCache:
    """Makes and keeps features.

    Args:
        base: The base and its judges.
        activate: Makes the live model a tree.
        seed: First seed of the protocol.
        folder: Where features are kept.
        stages: Told how long generating and encoding took.
        on_image: Called with the number of images that are new.
    """

    def __init__(
        self,
        base: LoadedBase,
        activate: Callable[[Tree], object],
        seed: int,
        folder: Path,
        stages: Stages,
        on_image: Callable[[int], None],
    ) -> None:
        self._base, self._activate, self._seed = base, activate, seed
        self._folder, self._stages, self._on_image = folder, stages, on_image
        self._features: dict[tuple[str, int], Features] = {}
        self._encoders: Mapping[str, ImageEncoder] = base.encoders
        self.made = 0

    def missing(self, spans: Sequence[ImageSpan]) -> int:
        """How many images `prepare` would make."""
        return sum(len(prompts) for jobs in self._jobs(spans).values() for prompts, _, _ in jobs)

    def prepare(self, spans: Sequence[ImageSpan]) -> None:
        """Make whatever features are missing; the model is set once for each tree."""
        for tree, jobs in self._jobs(spans).items():
            self._activate(tree)
            self._make(jobs)

    def features(self, span: ImageSpan) -> Features:
        """Encoder name -> (P, n, D), unit rows, of a span that was prepared."""
        key = _key(span)
        each = [self._features[key, image] for image in range(span.first, span.last)]
        return {name: np.stack([found[name] for found in each], axis=1) for name in self._encoders}

    def _jobs(self, spans: Sequence[ImageSpan]) -> dict[Tree, list[tuple[tuple[str, ...], str, int]]]:
        """Tree -> (prompts, key, image number) of what is missing, each once."""
        jobs: dict[Tree, dict[tuple[str, int], tuple[tuple[str, ...], str, int]]] = {}
        for span in spans:
            key = _key(span)
            for image in range(span.first, span.last):
                if not self._known(key, image, len(span.prompts)):
                    jobs.setdefault(span.tree, {})[key, image] = (span.prompts, key, image)
        return {tree: list(found.values()) for tree, found in jobs.items()}

    def _make(self, jobs: Sequence[tuple[tuple[str, ...], str, int]]) -> None:
        """Make the images of one job after the other, and keep what the judges see in them."""
        for prompts, key, image in jobs:
            with self._stages.measure("generate"):
                pixels = self._base.images(prompts, [image_seed(self._seed, row, image) for row in range(len(prompts))])
            with self._stages.measure("encode"):
                found = {name: encoder.image_features(pixels) for name, encoder in self._encoders.items()}
            self._keep(key, image, found)
            self.made += len(prompts)
            self._on_image(self.made)

    def _known(self, key: str, image: int, prompts: int) -> bool:
        if (key, image) not in self._features and (found := self._read(key, image, prompts)) is not None:
            self._features[key, image] = found
        return (key, image) in self._features

    def _read(self, key: str, image: int, prompts: int) -> Features | None:
        try:
            with np.load(self._path(key, image), allow_pickle=False) as stored:
                found = {name: stored[name] for name in self._encoders}
        except (OSError, ValueError, KeyError, EOFError):
            return None
        fine = all(one.ndim == 2 and len(one) == prompts and np.isfinite(one).all() for one in found.values())
        return found if fine else None

    def _keep(self, key: str, image: int, found: Features) -> None:
        self._features[key, image] = found
        path, buffer = self._path(key, image), BytesIO()
        np.savez(buffer, **found)  # type: ignore[arg-type]
        with contextlib.suppress(DiskFailed):  # a cache that cannot be written costs time, not the answer
            fsio.make_folder(path.parent)
            fsio.replace(path, buffer.getvalue())

    def _path(self, key: str, image: int) -> Path:
        return self._folder / key[:2] / f"{key[2:34]}-{image}.npz"


def _key(span: ImageSpan) -> str:
    return hashlib.sha256(json.dumps([span.tree.id, span.digest, span.prompts]).encode()).hexdigest()
