"""The protocol of a score: everything that it depends on besides the weights and the number of images.

Scores are compared only within one protocol, and are found again by its digest. It is read from files alone: the
sampler from the base's index, the digests of the judges from their folders, versions from the installed packages. So a
check whose scores are all stored needs neither torch nor the base in memory, and the path that does load them asks the
very same functions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cns.families import Family
from cns.files.bases import resolution_of
from cns.files.models import read_json
from cns.judges.files import find_judges, folder_digest
from cns.prompts import calibration_of, names, nouns_of, prompts_digest
from cns.templates import Kind, fill_templates

LIBRARIES = ("torch", "diffusers", "transformers")
DTYPE = "torch.float32"
"""Of what a drift is computed from, whatever pictures are made in."""

ZERO_SHOT_PROMPTS = 40
"""How many held-out calibration prompts judge the zero-shot drift: the first ones. Chosen: 4 s on the embedded base."""

PROMPT_SEEDS = 1000
"""Seeds of a prompt's images lie this far apart, so that prompts share none."""

ProtocolPlan = dict[str, Any]
"""A protocol as an evaluation stores it."""


@dataclass(frozen=True)
class Protocol:
    """How concepts of one base are judged.

    Attributes:
        folder: The base's folder.
        family: Its family.
        seed: First seed; image k of prompt p takes seed + 1000 p + k.
        device: Kind of device that makes the images: "cpu", "cuda" or "mps".
        templates: Judge prompts; `{}` stands for the concept's phrase.
        encoder: Another judge in the place of one of the base's, as the user named it.
        style: Judge prompts of styles, which stand in the place of `templates` in a protocol `of_kind("style")`; None
            in any other.
        erased: Nouns that the model erases: no prompt about other things names them.
        dtype: Number format in which images are made.
    """

    folder: Path
    family: Family
    seed: int
    device: str
    templates: tuple[str, ...]
    encoder: str | None = None
    style: tuple[str, ...] | None = None
    erased: tuple[str, ...] = ()
    dtype: str = "float32"

    def of_kind(self, kind: Kind) -> Protocol:
        """The protocol of a kind of concept; prompts that the user gave serve for every kind."""
        if kind == "object" or self.templates != self.family.objects.judge:
            return self
        return replace(self, style=self.family.style.judge)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The templates that concepts of its kind are judged on."""
        return self.templates if self.style is None else self.style

    @cached_property
    def judges(self) -> dict[str, Path]:
        """Folders of the judges: "identity" (where there is one), then "clip"."""
        return find_judges(self.family, self.folder, self.encoder)

    @cached_property
    def scores(self) -> ProtocolPlan:
        """The plan of a concept's scores."""
        index = read_json(self.folder / "model_index.json")
        return {
            "prompts": prompts_digest(self.templates),
            "seed": self.seed,
            "sampler": index["scheduler"][-1],
            "steps": self.family.defaults.sampler_steps,
            "guidance": self.family.defaults.guidance,
            "resolution": resolution_of(self.folder),
            "dtype": f"torch.{self.dtype}",
            "device": self.device,
            "encoders": {name: folder_digest(folder) for name, folder in self.judges.items()},
            "versions": library_versions(),
            **({} if self.style is None else {"style": prompts_digest(self.style)}),
        }

    @property
    def class_noun(self) -> ProtocolPlan:
        """The plan of the scores of the class noun alone, against a concept's references."""
        return {**self.scores, "subject": "class"}

    @property
    def zero_shot(self) -> ProtocolPlan:
        """The plan of the change of pictures of other things since the base."""
        return {**self.scores, "prompts": prompts_digest(self.zero_shot_prompts), "subject": "zero-shot"}

    @cached_property
    def zero_shot_prompts(self) -> tuple[str, ...]:
        """Held-out calibration prompts: they neither found neurons nor anchored a training."""
        found = calibration_of(self.family, self.folder).held_out
        known = nouns_of(self.family, self.folder) if self.erased else ()
        return tuple(one for one in found if not names(one, self.erased, known))[:ZERO_SHOT_PROMPTS]

    @property
    def erased_nouns(self) -> ProtocolPlan:
        """The plan of which pictures of erased nouns are called by them, among all nouns of the base."""
        words = [*self.erased_prompts, *nouns_of(self.family, self.folder)]
        return {**self.scores, "prompts": prompts_digest(words), "subject": "erased"}

    @property
    def erased_prompts(self) -> tuple[str, ...]:
        """The judge prompts of every erased noun, one noun after the other."""
        return tuple(prompt for noun in self.erased for prompt in fill_templates(self.templates, noun))

    def kv_drift(self, baseline: str | None = None) -> ProtocolPlan:
        """The plan of the K/V drift on the judge prompts.

        Args:
            baseline: Id of the tree that the drift is measured from; None = the concept's birth.
        """
        plan = {
            "kind": "kv-drift",
            "prompts": prompts_digest(self.prompts),
            "dtype": DTYPE,
            "device": self.device,
            "versions": library_versions(),
        }
        return plan if baseline is None else {**plan, "baseline": baseline}


def digest_of(plan: Mapping[str, Any]) -> str:
    """SHA-256 hex of a plan: scores of two digests are never compared."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def library_versions() -> dict[str, str]:
    """Versions of the libraries that images and features depend on."""
    return {name: version(name) for name in LIBRARIES}


def image_seed(seed: int, prompt: int, image: int) -> int:
    """Seed of one image of one prompt: the same in every tree."""
    return seed + PROMPT_SEEDS * prompt + image
