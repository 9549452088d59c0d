"""Peers that train weights of the model itself, concept after concept: Textual Inversion, Custom Diffusion, DreamBooth.

The three differ in what trains: nothing but the token, all cross-attention keys and values, or the whole denoiser. None
of their papers has a stream of concepts; here each concept is trained on top of the last, as somebody would who keeps
one model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.concept_stream import Concept
from benchmarks.method import Footprint
from benchmarks.peers.loop import Recipe, footprint, install, size_of, train
from benchmarks.trainer import Trainer
from cns.compose import kv_parameters


@dataclass(frozen=True)
class Learned:
    """Trained weights by name, and the token rows of all concepts, the newest last."""

    weights: dict[str, Tensor]
    rows: dict[str, Tensor]


class WeightsPeer:
    """A method that trains some of the denoiser's own weights, and the token.

    Args:
        name: As tables show it.
        recipe: Learning rate and steps.
        choose: Pipeline -> the weights that train, by state-dict name; None = nothing but the token does, so that a
            concept comes out alike in every order.
    """

    def __init__(
        self, name: str, recipe: Recipe, choose: Callable[[Any], dict[str, torch.nn.Parameter]] | None
    ) -> None:
        self.name, self.recipe, self.choose = name, recipe, choose
        self.settings = asdict(recipe)
        self.is_independent = choose is None

    def learn(self, trainer: Trainer, state: Learned | None, concept: Concept, seed: int) -> Learned:
        """Train on top of what is there; None is the bare base."""
        self.put(trainer, state, ())
        live = self.choose(trainer.model.pipeline) if self.choose else {}
        for weight in live.values():
            weight.requires_grad_(True)
        if self.is_independent:
            key = f"{self.name} {concept.token} {seed} {self.recipe} {concept.images.pixels.sum()}"
            rows, _ = trainer.kept(key, lambda: (train(trainer, concept, seed, self.recipe, []), {}))
        else:
            rows = train(trainer, concept, seed, self.recipe, list(live.values()))
        trainer.model.freeze()
        earlier = state.rows if state else {}
        return Learned({name: weight.detach().clone() for name, weight in live.items()}, {**earlier, **rows})

    def put(self, trainer: Trainer, state: Learned | None, _names: Sequence[str]) -> None:
        """Write the weights into the live model."""
        trainer.reset()
        if state is not None:
            trainer.model.pipeline.unet.load_state_dict(state.weights, strict=False)
            install(trainer, state.rows)

    def footprint(self, state: Learned) -> Footprint:
        """All trained weights change at every commit, in float32; and one row."""
        return footprint(size_of(state.weights), state.rows)

    def fused_bytes(self, _state: Learned, _names: Sequence[str]) -> int:
        """All concepts live in one model."""
        return 0


def textual_inversion(recipe: Recipe) -> WeightsPeer:
    """The token alone; the model never changes.

    Source: Gal et al., "An Image is Worth One Word" (ICLR 2023). Differs: the class noun stays in the prompt; one
    vector.
    """
    return WeightsPeer("textual inversion", recipe, None)


def custom_diffusion(recipe: Recipe) -> WeightsPeer:
    """All cross-attention key and value weights, and the token.

    Source: Kumari et al., "Multi-Concept Customization of Text-to-Image Diffusion" (CVPR 2023), section 3.2. Differs:
    no regularization images; concepts are trained one after another and not merged in closed form.
    """
    return WeightsPeer("custom diffusion", recipe, kv_parameters)


def dreambooth(recipe: Recipe) -> WeightsPeer:
    """Every weight of the denoiser, and the token.

    Source: Ruiz et al., "DreamBooth" (CVPR 2023). Differs: no prior-preservation images; the identifier is a new token
    that is trained, since the base has no rare one.
    """
    return WeightsPeer("dreambooth", recipe, lambda pipeline: dict(pipeline.unet.named_parameters()))
