"""One loaded embedded base in which concepts are learned and judged again and again, without a registry.

Loading takes ten seconds and general neurons half a minute: experiments that learn dozens of concepts share both. What
is learned here is what `cns add` learns with the same settings, by the same functions; `benchmarks/learning.py` also
runs the commands. The judge is plain numpy on the encoders' features, written apart from `cns/metrics.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor

from cns.compose import ConceptWeights, Weights
from cns.drift import Moments, prompt_moments
from cns.families import Defaults
from cns.files.bases import describe_base, resolve_base
from cns.files.images import load_images
from cns.regularizers import PastConcept
from cns.resume import Checkpoint, TrainingState, forget
from cns.task import Settings, TrainingConstraints, TrainingTask
from cns.templates import fill_templates
from cns.text import class_noun_row, install_tokens
from cns.training import learn_concept
from cns_cli.porcelain.learning.general import general_neurons_cached
from cns_cli.porcelain.learning.past import calibration_moments, protected_prompts
from cns_cli.porcelain.learning.subject import Subject, training_prompts
from cns_cli.porcelain.models.base import LoadedBase
from registry import fsio

ROOT = Path(__file__).resolve().parent.parent
CONCEPTS = ROOT / "examples" / "concepts"
OTHER_ARTISTS = ROOT / "benchmarks" / "other_artists"
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class LearnedConcept:
    """A concept that was learned.

    Attributes:
        noun: Its class noun.
        weights: Token row and change on the grid.
        references: What it was shown, shape (N, 64, 64, 3), uint8.
        birth: All K/V weights when it was learned.
        masks: Its concept neurons.
        series: All figures of its training, step by step.
    """

    noun: str
    weights: ConceptWeights
    references: Pixels
    birth: Weights
    masks: Mapping[str, Tensor]
    series: Mapping[str, Sequence[float]]


class Trainer:
    """The embedded base with its judges.

    Args:
        device: auto, cpu, cuda or mps.
        folder: Another base of its kind, for tests.
        cache: Folder that keeps the general neurons, and more, between processes.
        defaults: Settings where none are given; None = the family's.
    """

    def __init__(
        self,
        device: str = "auto",
        folder: Path | None = None,
        cache: Path | None = None,
        defaults: Defaults | None = None,
    ) -> None:
        folder = folder or resolve_base("emoji-64")
        self.base = LoadedBase.open(folder, describe_base(folder), device)
        self.model = self.base.model
        self.defaults = defaults or self.base.family.defaults
        self._untouched = {name: value.clone() for name, value in self.model.pipeline.unet.state_dict().items()}
        self._general: dict[tuple[Any, ...], dict[str, Tensor]] = {}
        self._calibration: Moments | None = None
        self.cache = cache
        if cache is not None:
            cache.mkdir(parents=True, exist_ok=True)

    def settings(self, **changes: Any) -> Settings:
        """Return the defaults with some settings changed; `budget` is a number of weights."""
        defaults = self.defaults
        budget = defaults.budget(self.model.kv_size, self.model.denoiser_size)
        return Settings(**{**defaults.shared(), "budget": budget, "seed": 0, **changes})

    def general(self, settings: Settings) -> dict[str, Tensor]:
        """Return the general neurons under these settings, computed once."""
        key = (settings.score, settings.general_ratio, settings.general_vote)
        if key not in self._general:
            self._general[key] = general_neurons_cached(self.base, settings, self.cache, "", silent)
        return self._general[key]

    def reset(self) -> None:
        """Make every weight of the denoiser the base's again, whatever a peer did to it."""
        unet = self.model.pipeline.unet
        if getattr(unet, "peft_config", None):
            unet.unload_lora()
        self.model.write(self.model.base)  # for all prompts alike
        unet.load_state_dict(self._untouched)
        self.model.freeze()

    def kept(self, key: str, compute: Callable[[], tuple[dict[str, Tensor], dict[str, Tensor]]]) -> Any:
        """Two sets of tensors that other cells need too, from the cache or computed."""
        if self.cache is None:
            return compute()
        name = hashlib.sha256(f"{key} {self.defaults}".encode()).hexdigest()[:24]
        path = self.cache / f"{name}.safetensors"
        if not path.exists():
            parts = compute()
            named = {f"{place}|{name}": value for place, part in enumerate(parts) for name, value in part.items()}
            fsio.replace(path, save(named))
        stored = load_file(path)
        return tuple(
            {name.removeprefix(f"{place}|"): value for name, value in stored.items() if name.startswith(f"{place}|")}
            for place in range(2)
        )

    def no_general_neurons(self) -> dict[str, Tensor]:
        """Return masks that leave no neuron out, for training all K/V weights."""
        return {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in self.model.base.items()}

    def learn(
        self,
        noun: str,
        earlier: Sequence[LearnedConcept] = (),
        general: Mapping[str, Tensor] | None = None,
        captioned: bool = True,
        **changes: Any,
    ) -> LearnedConcept:
        """Learn the example concept of this noun on top of earlier ones.

        Args:
            noun: Class noun, and the folder in examples/concepts.
            earlier: Concepts that the model holds.
            general: Neurons to leave out; None finds the general ones.
            captioned: Use the captions beside the images; else the family's training templates alone.
            changes: Settings other than the family's defaults.
        """
        images = load_images(CONCEPTS / noun, self.base.resolution)
        images = images if captioned else images.with_captions([None] * len(images.images))
        subject = Subject(noun, noun, None, f"<{noun}1>", images)
        return self.learn_subject(subject, earlier, self.settings(**changes), general)

    def learn_subject(
        self,
        subject: Subject,
        earlier: Sequence[LearnedConcept],
        settings: Settings,
        general: Mapping[str, Tensor] | None = None,
        *,
        tied: Callable[[], Sequence[PastConcept]] = tuple,
        checkpoint: Checkpoint = forget,
        state: TrainingState | None = None,
    ) -> LearnedConcept:
        """Learn any subject on top of earlier ones, as `cns add` does.

        Args:
            subject: What; its token is installed.
            earlier: Concepts that the model holds.
            settings: How.
            general: Neurons to leave out; None finds the general ones.
            tied: What is kept as it is besides, as if it were an earlier concept; asked when the token is there.
            checkpoint: Told the training's state.
            state: Where to go on.
        """
        general = self.general(settings) if general is None else general
        pipeline = self.model.pipeline
        parent = self.model.set_concepts([one.weights for one in earlier])
        # The token must exist before prompts that hold it beside an earlier one are encoded.
        row = class_noun_row(pipeline, subject.class_noun)
        install_tokens(pipeline, {subject.token: row})
        past = [self.past(one, earlier, subject) for one in earlier] if settings.reg != "none" else []
        past += tied()
        prompts = training_prompts(self.base, subject)
        task = TrainingTask(subject.name, subject.class_noun, subject.token, subject.images.pixels, prompts)
        constraints = TrainingConstraints(past, self.calibrated(), general)
        learned = learn_concept(self.model, parent, task, constraints, settings, silent, checkpoint, state)
        birth = self.model.set_concepts([*(one.weights for one in earlier), learned.weights])
        masks = learned.selection.masks
        return LearnedConcept(subject.class_noun, learned.weights, subject.images.pixels, birth, masks, learned.series)

    def draw(self, concepts: Sequence[LearnedConcept], phrase: str, per_prompt: int) -> Pixels:
        """Generate `per_prompt` images of each judge template with the phrase; the same noise at every call.

        Returns:
            Shape (P * per_prompt, 64, 64, 3), uint8, template by template.
        """
        self.model.set_concepts([one.weights for one in concepts])
        templates = fill_templates(self.base.family.objects.judge, phrase)
        prompts = [prompt for prompt in templates for _ in range(per_prompt)]
        return self.base.images(prompts, list(range(len(prompts))))

    def zero_shot(self, concepts: Sequence[LearnedConcept], count: int) -> float:
        """How far images of held-out calibration prompts moved from the base's: mean of 1 - cosine, same seeds."""
        prompts, moved = self.base.calibration.held_out[:count], []
        for held in ([], concepts):
            self.model.set_concepts([one.weights for one in held])
            moved.append(self.features(self.base.images(prompts, range(count))))
        return float(1 - (moved[0] * moved[1]).sum(1).mean())

    def features(self, pixels: Pixels, judge: str = "identity") -> NDArray[np.float32]:
        """Return unit rows, shape (N, D), of one judge."""
        return self.base.encoders[judge].image_features(pixels)

    def similarity(self, pixels: Pixels, references: Pixels, judge: str = "identity") -> float:
        """Mean cosine of images and references."""
        return float((self.features(pixels, judge) @ self.features(references, judge).T).mean())

    def ceiling(self, references: Pixels, judge: str = "identity") -> float:
        """Mean cosine of the references with each other, each with itself left out."""
        cosines = self.features(references, judge) @ self.features(references, judge).T
        count = len(cosines)
        return float((cosines.sum() - np.trace(cosines)) / (count * (count - 1)))

    def nearest(self, pixels: Pixels, references: Pixels, noun: str) -> float:
        """Share of images whose mean cosine to the references beats that to the same noun by every other artist."""
        features = self.features(pixels)
        own = (features @ self.features(references).T).mean(1)
        others = [
            load_images(folder, self.base.resolution).pixels for folder in sorted((OTHER_ARTISTS / noun).iterdir())
        ]
        rivals = np.stack([(features @ self.features(other).T).mean(1) for other in others])  # (artists, N)
        return float((own > rivals.max(0)).mean())

    def calibrated(self) -> Moments:
        """Moments of the calibration prompts, computed once."""
        if self._calibration is None:
            self._calibration = calibration_moments(self.base)
        return self._calibration

    def past(self, one: LearnedConcept, earlier: Sequence[LearnedConcept], new: Subject) -> PastConcept:
        """Return an earlier concept as the regularizer of a new one sees it."""
        others = [other.weights for other in earlier if other is not one]
        prompts = protected_prompts(self.base, one.weights, [*others, new])
        return PastConcept(one.birth, prompt_moments(self.model.pipeline, prompts), one.masks)


def silent(stage: str, done: int, total: int, **numbers: float) -> None:
    """Say nothing."""
