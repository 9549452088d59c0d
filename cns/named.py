"""Composition by name: each prompt sees the base and the concepts that it names, whatever else is in its batch.

A prompt that names one concept sees the base plus its integers; of several, each acts where the `Reach` says, and with
half of its change (`COMPANY`), as it does in a box (`cns.regions`). A prompt that names none, the empty one and a
negative one among them, sees the base bit for bit. Text features do not change over the sampler's steps, so keys and
values of every cross-attention are computed once a prompt and handed to the layers:

    model.set_named(concepts)                         # `cns.compose.Model`; the live weights stay the base's
    sample(model.pipeline, ["a <rex> dog", "a dog"], [0, 1], steps=20, guidance=5.0, negative="a <tom> cat")
    model.set_concepts([])                            # or any other set: the pipeline is diffusers' own again

It holds for every call of the pipeline with prompts as text, and for any processor of its attention, since the two
projections themselves return what was handed over. What counts is what the text encoder reads: a token that was cut off
names nothing. Each row of a batch has the bits that it would have if its weights were everyone's: a projection is
computed for the whole batch under each set of weights, and positions are picked from these.

The module knows a pipeline and where weights come from; it does not know what a concept is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from cns.denoiser import KV_WEIGHTS, denoiser_of, dtype_of, projection_of
from cns.families import COMPANY
from cns.tokens import token_ids

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline

Mention = tuple[int, str]
"""Position of a token in a prompt, and the concept whose token it is."""

Reach = Callable[[Sequence[Mention], int], Sequence[frozenset[str]]]
"""Mentions in order, number of positions T -> for each position the concepts that act there."""

BYTES_KEPT = 2**29
"""Of composed weights (chosen): seven sets of Stable Diffusion 1.x in float32, so that few are composed twice."""


def whole_prompt(mentions: Sequence[Mention], length: int) -> Sequence[frozenset[str]]:
    """Every concept that is named acts at every position."""
    return [frozenset(name for _, name in mentions)] * length


def last_named(mentions: Sequence[Mention], length: int) -> Sequence[frozenset[str]]:
    """At each position the concept that was named last so far acts alone; before the first token, the first one.

    A prompt of one concept is the same as under `whole_prompt`; of several, each is told in its own words alone.
    """
    here, named, acting = frozenset(name for _, name in mentions[:1]), dict(mentions), []
    for position in range(length):
        here = frozenset({named[position]}) if position in named else here
        acting.append(here)
    return acting


class NamedWeights:
    """A pipeline whose prompts see the weights of what they name; in force from its making until `remove`.

    Args:
        pipeline: Its text encoder knows the tokens; its weights are the base's.
        tokens: Concept -> its tokens.
        weights_of: A set of concepts -> weights by matrix name, shape (O, I), float32, CPU.
        reach: Where in a prompt a concept acts.
        everywhere: Concepts that act in the whole of a prompt that names them, whatever their reach: styles.
        company: Share of the change that acts where a prompt names several others than these, or is of a box; 0 to 1.
    """

    def __init__(
        self,
        pipeline: StableDiffusionPipeline,
        tokens: Mapping[str, Collection[str]],
        weights_of: Callable[[frozenset[str]], Mapping[str, Tensor]],
        reach: Reach,
        everywhere: Collection[str] = (),
        company: float = COMPANY,
    ) -> None:
        self._weights_of, self._reach, self._everywhere = weights_of, reach, frozenset(everywhere)
        self._company = company
        ids = pipeline.tokenizer.convert_tokens_to_ids
        self._owners: dict[int, str] = {ids(token): name for name, own in tokens.items() for token in own}
        self._layers: dict[str, Any] = {
            f"{name}.weight": layer
            for name, layer in sorted(denoiser_of(pipeline).named_modules())
            if f"{name}.weight".endswith(KV_WEIGHTS)
        }
        self._composed: OrderedDict[frozenset[str], Mapping[str, Tensor]] = OrderedDict()
        self._features: Tensor | None = None
        self._handed: Mapping[str, Tensor] = {}
        self._given: Tensor | None = None
        self._projection: list[Any] = projection_of(denoiser_of(pipeline))
        self._projecting = [part.forward for part in self._projection]
        hooked = (*self._layers.values(), *self._projection)
        self._before = [(layer, vars(layer).get("forward")) for layer in hooked]  # accelerate's, see `cns.spreading`
        for matrix, layer in self._layers.items():
            layer.forward = partial(self._hand, matrix)
        for place, part in enumerate(self._projection):
            part.forward = _as_it_is if place else self._read
        self.attach(pipeline)

    def attach(self, pipeline: StableDiffusionPipeline) -> None:
        """Serve a pipeline, which has the components of the first, in its place."""
        self._pipeline, self._encode_prompt = pipeline, pipeline.encode_prompt
        pipeline.encode_prompt = self._encode

    def remove(self) -> None:
        """Make the pipeline diffusers' own again."""
        del self._pipeline.encode_prompt
        for layer, forward in self._before:
            del layer.forward
            if forward is not None:
                layer.forward = forward

    @torch.no_grad()
    def project(
        self, features: Tensor, prompts: Sequence[str], beside: bool = False, against: int = 0
    ) -> dict[str, Tensor]:
        """Keys and values of prompts, each under its own weights.

        Args:
            features: Text features of N prompts, shape (N, T, D).
            prompts: The N prompts.
            beside: They are of a part of a picture, beside whatever is in the others.
            against: How many of them, the first ones, are negative.

        Returns:
            Matrix name -> what the projection gives, shape (N, T, O), in the dtype in which the model computes.
        """
        tokenizer, parts = self._pipeline.tokenizer, ((prompts[:against], False), (prompts[against:], True))
        ids = [row for part, instructed in parts if part for row in token_ids(tokenizer, part, instructed).tolist()]
        acting = [self._acting(row) for row in ids]
        projected: dict[str, Tensor] = {}
        for concepts in sorted({one for row in acting for one in row}, key=sorted):
            chosen = torch.tensor([[one == concepts for one in row] for row in acting], device=features.device)
            for matrix, weight in self._weights(concepts).items():
                found = linear(features.to(weight.device), weight, self._layers[matrix].bias)
                known = projected.get(matrix, found)
                projected[matrix] = torch.where(chosen.unsqueeze(-1).to(weight.device), found, known)
        several = [beside or len(frozenset().union(*row) - self._everywhere) > 1 for row in acting]
        dtype = dtype_of(denoiser_of(self._pipeline))
        if self._company == 1 or not any(several):
            return {matrix: one.to(dtype) for matrix, one in projected.items()}
        rows = torch.tensor(several, device=features.device).view(-1, 1, 1)
        for matrix, layer in self._layers.items():
            base = linear(features.to(layer.weight.device), layer.weight, layer.bias)
            one = projected[matrix]
            lesser = torch.lerp(base, one, self._company)
            projected[matrix] = torch.where(rows.to(one.device), lesser, one).to(dtype)
        return projected

    @contextmanager
    def reading(self, features: Tensor, projected: Mapping[str, Tensor]) -> Iterator[None]:
        """Within the context the layers are called with these features, and have what `project` made of them.

        Args:
            features: The very tensor of the calls, shape (N, T, D).
            projected: Of its rows, or of one row that stands for all.
        """
        before = self._features, self._handed
        self._features, self._handed = features, projected
        try:
            yield
        finally:
            self._features, self._handed = before

    def _acting(self, ids: Sequence[int]) -> Sequence[frozenset[str]]:
        """For each position of a prompt, the concepts that act there."""
        mentions = [(place, self._owners[one]) for place, one in enumerate(ids) if one in self._owners]
        always = self._everywhere.intersection(name for _, name in mentions)
        told = self._reach([one for one in mentions if one[1] not in always], len(ids))
        return [always | here for here in told]

    def _weights(self, concepts: frozenset[str]) -> Mapping[str, Tensor]:
        """Weights of a set as the model computes with them; the base's are the live ones, the last few others kept."""
        if not concepts:
            return {matrix: layer.weight for matrix, layer in self._layers.items()}
        if concepts not in self._composed:
            composed = self._weights_of(concepts)
            found = {matrix: composed[matrix].to(layer.weight) for matrix, layer in self._layers.items()}
            size_bytes = sum(weight.nbytes for weight in found.values())
            while self._composed and size_bytes * (len(self._composed) + 1) > BYTES_KEPT:
                self._composed.popitem(last=False)
            self._composed[concepts] = found
        self._composed.move_to_end(concepts)
        return self._composed[concepts]

    def _encode(self, *given: Any, **named: Any) -> tuple[Any, ...]:
        """The pipeline's `encode_prompt`, which also computes the keys and values of what it encodes."""
        call = signature(self._encode_prompt).bind(*given, **named)
        call.apply_defaults()
        said = call.arguments
        prompt, against = said.get("prompt"), said.get("negative_prompt")
        if prompt is None or said.get("negative_prompt_embeds") is not None:
            raise ValueError("weights follow what a prompt names; expected prompts as text, not as embeddings")
        if said.get("prompt_2") is not None or said.get("negative_prompt_2") is not None:
            raise ValueError("weights follow what a prompt names; expected one prompt for both text encoders")
        encoded: tuple[Any, ...] = self._encode_prompt(*given, **named)
        positive, negative = encoded[0], encoded[2 if self._projection else 1]  # behind PixArt's and Sana's are masks
        rows, features, first = _rows(prompt, len(positive)), positive, 0
        if said["do_classifier_free_guidance"] and negative is not None:
            rows, first = [*_rows(against or "", len(negative)), *rows], len(negative)
            features = torch.cat([negative, positive])
        self._given = features
        with torch.no_grad():
            features = self._project_text(features)
        self._features, self._handed = features, self.project(features, rows, against=first)
        return encoded

    def _project_text(self, states: Tensor) -> Tensor:
        """What keys and values read of states: these, where there is no projection."""
        for forward in self._projecting:
            states = forward(states)
        return states

    def _read(self, states: Tensor) -> Tensor:
        """The forward of the text's projection: what was made of these states once, and not at every step."""
        known = self._given
        if states is not known:
            if known is None or not _same(states, known):
                return self._project_text(states)  # a region's
            self._given = states
        assert self._features is not None
        return self._features

    def _hand(self, matrix: str, features: Tensor) -> Tensor:
        """The forward of a projection: what was computed for these features."""
        if features is not self._features:  # the pipeline joins the halves of a batch once, and keeps that tensor
            known = self._features
            if known is None or not _same(features, known):
                raise ValueError("weights follow what a prompt names; expected features that the pipeline encoded")
            self._features = features
        return self._handed[matrix].expand(len(features), -1, -1)


def named_weights(pipeline: StableDiffusionPipeline) -> NamedWeights | None:
    """Whatever makes a pipeline's prompts see what they name; None where its weights are the same for all."""
    owner = getattr(pipeline.encode_prompt, "__self__", None)
    return owner if isinstance(owner, NamedWeights) else None


def adopt(pipeline: StableDiffusionPipeline, other: StableDiffusionPipeline) -> None:
    """Compose as another pipeline does whose components this one has taken over; the other is not to be used again."""
    vars(pipeline).pop("encode_prompt", None)
    if (named := named_weights(other)) is not None:
        named.attach(pipeline)


def _as_it_is(features: Tensor) -> Tensor:
    """The forward of what follows in the text's projection: the first part of it did all."""
    return features


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same, wherever they are."""
    return one.shape == other.shape and torch.equal(one, other.to(one.device))


def _rows(prompt: str | Sequence[str], count: int) -> list[str]:
    """The prompt of each of `count` rows of features; the images of one prompt follow each other."""
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    return [one for one in prompts for _ in range(count // len(prompts))]
