"""A registry and its base model, opened together: objects become tensors here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cns import codec
from cns.compose import ConceptWeights, Weights
from cns.errors import MetricError, SettingsError
from cns.files.images import ImageSet
from cns.spreading import BALANCED
from cns.text import has_second_encoder
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.models.deltas import delta_of
from cns_cli.porcelain.models.device import asked_dtype, dtype_for
from cns_cli.porcelain.models.folder import base_folder, check_own_base
from cns_cli.porcelain.models.stored import kind_of
from registry.objects import Base, Blob, Concept, Erasure, References, Tree
from registry.repository import Repository
from registry.trees import birth


@dataclass
class Session:
    """A registry with its base model loaded and checked.

    Attributes:
        repo: The registry.
        base: The loaded base.
    """

    repo: Repository
    base: LoadedBase
    _decoded: dict[str, ConceptWeights] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        repo: Repository,
        device: str,
        encoder: str | None = None,
        dtype: str = "float32",
        *,
        trains: bool = False,
        checked: Callable[[], object] | None = None,
    ) -> Session:
        """Load the registry's base model.

        Args:
            repo: The registry.
            device: auto, cpu, cuda, mps or balanced.
            encoder: Another judge in the place of one of the base's.
            dtype: In which number format its denoiser computes; of "auto" the registry's config decides, or the device.
            trains: Weights are also trained, which cannot be in float16.
            checked: Waits for `check_own_base`, where it runs already; None: it runs here.

        Raises:
            BadConfig: `config.toml` cannot be meant.
            BaseModelError: It is not where `config.toml` says, or it is not the one that the registry was made on.
            SettingsError: A training would be spread over several devices.
        """
        if trains and device == BALANCED:
            said = "a training computes on one device, and balanced spreads the base over all GPUs"
            raise SettingsError(said, "Leave the choice open: --device auto", name="device", value=device)
        base = repo.objects.get(repo.tree_of(repo.head().commit).base, Base)
        folder = base_folder(repo)
        checked() if checked else check_own_base(repo)
        dtype = dtype_for(asked_dtype(repo, dtype), device, trains=trains)
        return cls(repo, LoadedBase.open(folder, base, device, dtype)).judged_by(encoder)

    def judged_by(self, encoder: str | None) -> Session:
        """This session, with the same live model, under other judges."""
        if encoder == self.base.encoder:
            return self
        return replace(self, base=replace(self.base, encoder=encoder))

    @property
    def cache(self) -> Path:
        """Folder of files that can be made again; whoever writes makes it."""
        return self.repo.folder / "cache"

    def concept(self, concept_id: str) -> ConceptWeights:
        """Token rows and delta of a stored concept; decoded once."""
        if concept_id not in self._decoded:
            stored = self.repo.objects.get(concept_id, Concept)
            rows = codec.decode_rows(self._blob(stored.embedding), stored.tokens)
            self._decoded[concept_id] = ConceptWeights(
                stored.name,
                stored.class_noun,
                {token: torch.from_numpy(rows[token].copy()) for token in stored.tokens},
                delta_of(self.repo.objects, stored),
                kind_of(stored),
            )
        return self._decoded[concept_id]

    def concepts(self, tree: Tree) -> dict[str, ConceptWeights]:
        """The decoded concepts of a tree, by name."""
        return {name: self.concept(concept_id) for name, concept_id in sorted(tree.concepts.items())}

    def erasure(self, tree: Tree) -> list[ConceptWeights]:
        """What a tree changes for every prompt: its erasure, where it has one."""
        if tree.erasure is None:
            return []
        if tree.erasure not in self._decoded:
            delta = delta_of(self.repo.objects, self.repo.objects.get(tree.erasure, Erasure))
            self._decoded[tree.erasure] = ConceptWeights("(erasure)", "", {}, delta)
        return [self._decoded[tree.erasure]]

    def parts(self, tree: Tree) -> list[ConceptWeights]:
        """All that a tree adds to its base: its concepts, and its erasure."""
        return [*self.concepts(tree).values(), *self.erasure(tree)]

    def set_tree(self, tree: Tree) -> Weights:
        """Make the live model this tree and return the weights of all its concepts together."""
        weights = self.base.model.compose(self.parts(tree))
        self.write(tree, weights)
        return weights

    def write(self, tree: Tree, weights: Weights | None = None) -> None:
        """Make the live model this tree: from here on whatever draws, draws it.

        Of most trees the live weights hold all concepts; of one that composes by name they stay the base's, but for
        what is erased, and each prompt sees those that it names.

        Args:
            tree: The tree.
            weights: Those of all its concepts together, where they were composed before.
        """
        model, concepts = self.base.model, self.parts(tree)
        if tree.compose == "named" and tree.concepts:
            model.set_named(concepts)
            return
        model.write(model.compose(concepts) if weights is None else weights)
        model.set_tokens({token: row for concept in concepts for token, row in concept.rows.items()})

    def birth_tree(self, concept_id: str) -> Tree:
        """The tree that is a concept's baseline: what it was trained on, plus itself."""
        return birth(self.repo.objects, concept_id)

    def birth_weights(self, concept_id: str) -> Weights:
        """Composed weights of a concept's baseline, without touching the live model."""
        return self.base.model.compose(self.parts(self.birth_tree(concept_id)))

    def references(self, concept_id: str) -> Mapping[str, NDArray[np.float32]]:
        """Features of a concept's training images: encoder name -> (N, D), float32, unit rows.

        From the stored images where they were kept, else from the stored features.

        Raises:
            MetricError: Neither is there for an encoder.
        """
        found = self.references_found(concept_id)
        for features in found.values():
            if isinstance(features, MetricError):
                raise features
        return {name: features for name, features in found.items() if not isinstance(features, MetricError)}

    def references_found(self, concept_id: str) -> Mapping[str, NDArray[np.float32] | MetricError]:
        """As `references`, with the reason in the place of the features of an encoder that has none."""
        references = self.repo.objects.get(self.repo.objects.get(concept_id, Concept).references, References)
        if references.images is not None:
            images = codec.decode_images(self._blob(references.images))
            return {name: encoder.image_features(images) for name, encoder in self.base.encoders.items()}
        found: dict[str, NDArray[np.float32] | MetricError] = {}
        for name, encoder in self.base.encoders.items():
            if encoder.digest in references.features:
                found[name] = codec.decode_features(self._blob(references.features[encoder.digest]))
            else:
                found[name] = MetricError(
                    f"the images of this concept were not kept, and no features of this {name} encoder either",
                    hint="cns add NAME IMAGES/ --replace",
                )
        return found

    def store_references(self, photos: ImageSet, keep: bool) -> References:
        """Store training images with what a training reads of them (or only features); return what names them."""
        images = photos.pixels
        features = {}
        if not keep:
            for encoder in self.base.encoders.values():
                data = codec.encode_features(encoder.image_features(images))
                features[encoder.digest] = self.repo.objects.put(Blob(data))
        framings = photos.framings if has_second_encoder(self.base.model.pipeline) else None  # no other base reads them
        blob = self.repo.objects.put(Blob(codec.encode_images(images, photos.masks, framings))) if keep else None
        return References(blob, photos.captions, len(images), int(images.shape[1]), features)

    def _blob(self, blob_id: str) -> bytes:
        return self.repo.objects.get(blob_id, Blob).data
