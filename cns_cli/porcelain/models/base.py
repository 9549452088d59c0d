"""A base model ready to work with: pipeline, family, calibration prompts, judges. No registry is needed.

Everything heavy hangs on this module; commands reach it only through a porcelain function called in their bodies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from cns.compose import Model
from cns.families import Family, family_named
from cns.files.bases import BaseFacts, resolution_of
from cns.judges.encoders import ClipEncoder, ImageEncoder, load_judge
from cns.judges.files import find_judges
from cns.loading import load_pipeline, pick_device
from cns.prompts import Calibration, backgrounds_of, calibration_of, nouns_of
from cns.sampling import Pixels, sample
from cns.spreading import BALANCED
from registry.objects import Base


@dataclass
class LoadedBase:
    """A loaded base.

    Attributes:
        folder: The base's folder.
        family: Its family.
        model: Its pipeline with composable weights.
        device: Where it computes.
        dtype: In which number format its denoiser computes, one of `cns_cli.optionfield.DTYPES`.
        encoder: Another judge in the place of one of the base's, see `cns.judges.files.find_judges`.
    """

    folder: Path
    family: Family
    model: Model
    device: torch.device
    dtype: str = "float32"
    encoder: str | None = None

    @classmethod
    def open(cls, folder: Path, facts: BaseFacts | Base, device: str, dtype: str = "float32") -> LoadedBase:
        """Load a base.

        Args:
            folder: A diffusers folder.
            facts: What the base is: what `describe_base` found, or the registry's object, where it has been checked.
            device: auto, cpu, cuda or mps; balanced: over all GPUs, for pictures alone (`cns.spreading`).
            dtype: float32, bfloat16 or float16.
        """
        where = pick_device(device)
        exponents = {name: int(matrix["exponent"]) for name, matrix in facts.matrices.items()}
        pipeline = load_pipeline(folder, where, getattr(torch, dtype), balanced=device == BALANCED)
        model = Model(pipeline, exponents)
        return cls(folder, family_named(facts.family), model, where, dtype)

    @cached_property
    def encoders(self) -> Mapping[str, ImageEncoder]:
        """The judges that this base has, by name: "identity" (where there is one), then "clip"."""
        folders = find_judges(self.family, self.folder, self.encoder)
        return {name: load_judge(name, folder, self.device) for name, folder in folders.items()}

    @property
    def clip(self) -> ClipEncoder:
        """The CLIP that judges."""
        clip = self.encoders["clip"]
        assert isinstance(clip, ClipEncoder)
        return clip

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration prompts of this base."""
        return calibration_of(self.family, self.folder)

    @cached_property
    def nouns(self) -> tuple[str, ...]:
        """Class nouns that this base knows."""
        return nouns_of(self.family, self.folder)

    @property
    def knows_its_nouns_only(self) -> bool:
        """Whether it brings a list of its nouns, beside which it draws no others."""
        return (self.folder / self.family.nouns).is_file()

    def knows_noun(self, noun: str) -> bool:
        """Whether a class noun means something to it: it, or its last word, is listed, or its words are whole pieces.

        A word that the tokenizer cuts into pieces was rare in what it was made of; of a base that draws its listed
        nouns alone, other words are no nouns at all.
        """
        noun = noun.lower()
        if any(noun == one or noun.endswith(f" {one}") for one in self.nouns):
            return True
        pieces = self.model.pipeline.tokenizer.tokenize(noun)
        return not self.knows_its_nouns_only and len(pieces) == len(noun.split())

    @cached_property
    def backgrounds(self) -> tuple[str, ...]:
        """Phrases for backgrounds that this base knows; empty for most."""
        return backgrounds_of(self.family, self.folder)

    @cached_property
    def resolution(self) -> int:
        """Side of the images that the base makes, pixels."""
        return resolution_of(self.folder)

    def images(self, prompts: Sequence[str], seeds: Sequence[int]) -> Pixels:
        """Images by the family's default sampler settings, shape (N, R, R, 3), uint8."""
        defaults = self.family.defaults
        return sample(
            self.model.pipeline,
            prompts,
            seeds,
            steps=defaults.sampler_steps,
            guidance=defaults.guidance,
            size=self.resolution,
        )
