"""A registry and its base model, opened together: objects become tensors here, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load, save

from cns import codec
from cns.basefiles import check_base, resolve_base
from cns.compose import ConceptWeights, Weights
from cns.errors import MetricError
from cns_cli.porcelain.workbench import Workbench
from registry.objects import Base, Blob, Concept, References, Tree
from registry.repository import Repository


@dataclass
class Session:
    """A registry with its base model loaded and checked.

    Attributes:
        repo: The registry.
        bench: The loaded base.
    """

    repo: Repository
    bench: Workbench
    _decoded: dict[str, ConceptWeights] = field(default_factory=dict)

    @classmethod
    def open(cls, repo: Repository, device: str) -> Session:
        """Load the registry's base model.

        Raises:
            BaseModelError: It is not where `config.toml` says, or it is not the one that the registry was made on.
        """
        base = repo.objects.get(repo.tree_of(repo.head().commit).base, Base)
        folder = resolve_base(repo.config["base"]["source"])
        check_base(folder, base)
        exponents = {name: int(facts["exponent"]) for name, facts in base.matrices.items()}
        return cls(repo, Workbench.open(folder, base.family, exponents, device))

    @cached_property
    def cache(self) -> Path:
        """Folder of files that can be made again."""
        folder = self.repo.folder / "cache"
        folder.mkdir(exist_ok=True)
        return folder

    def concept(self, concept_id: str) -> ConceptWeights:
        """Token rows and delta of a stored concept; decoded once."""
        if concept_id not in self._decoded:
            stored = self.repo.objects.get(concept_id, Concept)
            rows = codec.decode_rows(self._blob(stored.embedding))
            self._decoded[concept_id] = ConceptWeights(
                stored.name,
                stored.class_noun,
                {token: torch.from_numpy(rows[token].copy()) for token in stored.tokens},
                codec.decode(self._blob(stored.mask), self._blob(stored.delta)),
            )
        return self._decoded[concept_id]

    def concepts(self, tree: Tree) -> dict[str, ConceptWeights]:
        """The decoded concepts of a tree, by name."""
        return {name: self.concept(concept_id) for name, concept_id in sorted(tree.concepts.items())}

    def set_tree(self, tree: Tree) -> Weights:
        """Make the live model this tree and return its composed weights."""
        return self.bench.model.set_concepts(list(self.concepts(tree).values()))

    def birth_tree(self, concept_id: str) -> Tree:
        """The tree that is a concept's baseline: what it was trained on, plus itself."""
        stored = self.repo.objects.get(concept_id, Concept)
        trained_on = self.repo.objects.get(stored.trained_on, Tree)
        others = {name: other for name, other in trained_on.concepts.items() if name != stored.name}
        return Tree(base=trained_on.base, concepts={**others, stored.name: concept_id})

    def birth_weights(self, concept_id: str) -> Weights:
        """Composed weights of a concept's baseline, without touching the live model."""
        return self.bench.model.compose(list(self.concepts(self.birth_tree(concept_id)).values()))

    def references(self, concept_id: str) -> Mapping[str, NDArray[np.float32]]:
        """Features of a concept's training images: encoder name -> (N, D), float32, unit rows.

        From the stored images where they were kept, else from the stored features.

        Raises:
            MetricError: Neither is there for an encoder.
        """
        references = self.repo.objects.get(self.repo.objects.get(concept_id, Concept).references, References)
        if references.images is not None:
            images = load(self._blob(references.images))["images"]
            return {name: encoder.image_features(images) for name, encoder in self.bench.encoders.items()}
        features = {}
        for name, encoder in self.bench.encoders.items():
            if encoder.digest not in references.features:
                raise MetricError(
                    f"the images of this concept were not kept, and no features of encoder {encoder.name} either",
                    hint="cns add NAME IMAGES/ --replace",
                )
            features[name] = load(self._blob(references.features[encoder.digest]))["features"]
        return features

    def store_references(self, images: NDArray[np.uint8], captions: tuple[str | None, ...], keep: bool) -> References:
        """Store the training images (or only their features) and return the object that names them, not yet put."""
        features = {}
        if not keep:
            for encoder in self.bench.encoders.values():
                data = save({"features": encoder.image_features(images)})
                features[encoder.digest] = self.repo.objects.put(Blob(data))
        blob = self.repo.objects.put(Blob(save({"images": np.ascontiguousarray(images)}))) if keep else None
        return References(blob, captions, len(images), int(images.shape[1]), features)

    def _blob(self, blob_id: str) -> bytes:
        return self.repo.objects.get(blob_id, Blob).data
