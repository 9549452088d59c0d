"""Region control: inside a box the picture follows the box's own prompt, elsewhere the prompt of the picture.

Every cross-attention layer computes what it always does, under the picture's prompt. For each region the same layer is
then run again for the queries of the box's cells alone, under the region's text features, and its output takes the
place of the first one there. Where boxes overlap the mean of their outputs stands, whatever their order. Under
classifier-free guidance the unconditional half is left alone: regions say what to draw, not what to keep away from.
This is Mix-of-Show's regionally controllable sampling (Gu et al. 2023), without its spatial conditions.

Which prompt a concept's box gets is our choice (`concept_region`), measured in docs/generate.md: cross-attention also
carries how a picture is laid out, and a prompt of the concept alone makes it fill the picture. So a region may have
several prompts, and the mean of their outputs stands.

The layer is run by the processor that the model has (SDPA as diffusers installs it, or any other), which is wrapped and
put back afterwards: without `regional` not one instruction is added to a plain pipeline. Text features of the regions
are computed once. Under composition by name (`cns.named`) each of a region's prompts sees the concepts that it names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cns.boxes import Box
from cns.compose import ConceptWeights
from cns.denoiser import denoiser_of
from cns.errors import RegionError
from cns.named import NamedWeights, named_weights
from cns.templates import mention
from cns.text import conditions_of

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline

MAX_REGIONS = 64  # each costs a cross-attention of its box at every step


@dataclass(frozen=True)
class Region:
    """What is to be seen in a box.

    Attributes:
        box: Where.
        prompts: What the box shows, whole prompts such as `a <rex> dog on the grass`; the mean of several stands.
    """

    box: Box
    prompts: tuple[str, ...]


def concept_region(prompt: str, name: str, concepts: Mapping[str, ConceptWeights], box: Box) -> Region:
    """The region that shows one concept, with prompts made from the picture's.

    Two prompts: the picture's with every concept that it names turned into this one (`a <rex> dog and a <rex> dog on
    the grass`), which keeps the layout, and the picture's with all of them and what stands between turned into this one
    (`a <rex> dog on the grass`), which says it clearly. A prompt that names no concept gives `a <rex> dog` alone.

    Args:
        prompt: The picture's prompt.
        name: The concept of the box.
        concepts: All concepts of the model, by name.
        box: Where.

    Raises:
        RegionError: No concept has this name, or it is a style, which is drawn in and not put somewhere.
    """
    if name not in concepts:
        raise RegionError(f"no concept {name!r} for the box {box}; expected one of {', '.join(sorted(concepts))}")
    phrase = concepts[name].phrase
    if concepts[name].kind == "style":
        raise RegionError(f"{name} is a style; expected a prompt for the box, such as 'a {phrase} dog@{box}'")
    objects = [concept for concept in concepts.values() if concept.kind == "object"]
    named = re.compile("|".join(f"(?:{mention([*one.rows], one.class_noun)})" for one in objects))
    places = [match.span() for match in named.finditer(prompt)]
    if not places:
        return Region(box, (f"a {phrase}",))
    crowd = named.sub(lambda _: phrase, prompt)
    alone = prompt[: places[0][0]] + phrase + prompt[places[-1][1] :]
    return Region(box, tuple(dict.fromkeys((alone, crowd))))


@contextmanager
def regional(pipeline: StableDiffusionPipeline, regions: Sequence[Region]) -> Iterator[None]:
    """Within the context, whatever the pipeline generates follows these regions; use it around `cns.sampling.sample`.

    Every image of every batch gets the same regions. Without a region the pipeline is left as it is.

    Args:
        pipeline: Its denoiser's cross-attention processors are wrapped, and are the same objects as before afterwards.
        regions: Their prompts may hold special tokens that are installed.

    Raises:
        RegionError: There are too many; or, when an image is begun, a box holds not one cell of the finest
            cross-attention map at that resolution.
    """
    if not regions:
        yield
        return
    if len(regions) > MAX_REGIONS:
        raise RegionError(f"{len(regions)} regions; expected at most {MAX_REGIONS}")
    texts = [_read(pipeline, one.prompts) for one in regions]
    denoiser = denoiser_of(pipeline)
    layout = _Layout([one.box for one in regions], _finest_level(denoiser.config))
    before = dict(denoiser.attn_processors)
    wrapped = {
        name: _Regional(inner, layout, texts, lambda: pipeline._guidance_scale > 1)
        if name.endswith("attn2.processor")
        else inner
        for name, inner in before.items()
    }
    handle = denoiser.register_forward_pre_hook(layout.look)
    try:
        denoiser.set_attn_processor(wrapped)
        yield
    finally:
        handle.remove()
        denoiser.set_attn_processor(dict(before))


class _Layout:
    """Which cells each box holds, on every feature map of the picture that is being made."""

    def __init__(self, boxes: Sequence[Box], finest: int) -> None:
        self._boxes, self._finest = boxes, finest
        self._size: tuple[int, int] = (0, 0)
        self._cells: dict[tuple[int, torch.device], list[Tensor]] = {}

    def look(self, _denoiser: Any, inputs: tuple[Any, ...]) -> None:
        """Take the size from the latents, shape (N, C, H, W), that the denoiser is called with."""
        height, width = inputs[0].shape[-2:]
        if (height, width) == self._size:
            return
        rows, columns = _halved(height, self._finest), _halved(width, self._finest)
        for box in self._boxes:
            if not box.exact_cells(rows, columns):
                raise RegionError(
                    f"the box {box} holds no cell of the {columns}x{rows} cells that this model tells apart at this "
                    "resolution; expected a larger box"
                )
        self._size, self._cells = (height, width), {}

    def cells(self, length: int, device: torch.device) -> list[Tensor]:
        """For each box its cells, shape (K,), int64, on a map that has `length` cells in all."""
        if (length, device) not in self._cells:
            cells = [torch.tensor(box.cells(*self._map(length)), device=device) for box in self._boxes]
            self._cells[length, device] = cells
        return self._cells[length, device]

    def _map(self, length: int) -> tuple[int, int]:
        """Height and width of the map that has `length` cells: the latents', halved as often as it takes."""
        height, width = self._size
        while height * width > length:
            height, width = _halved(height, 1), _halved(width, 1)
        if height * width != length:
            raise RegionError(f"a cross-attention over {length} places; expected latents of {self._size}, halved")
        return height, width


@dataclass(frozen=True)
class _Text:
    """A prompt of a region as the layers read it.

    Attributes:
        prompt: It.
        features: Its features, shape (T, D).
        bias: What is added to the scores of its positions, shape (1, T): -10000 where they are not read, as diffusers
            has it; None where all are.
        named: Whoever composes by name.
    """

    prompt: str
    features: Tensor
    bias: Tensor | None
    named: NamedWeights | None

    @cached_property
    def projected(self) -> Mapping[str, Tensor]:
        """Its keys and values, computed where they are first used: there it is known in which precision."""
        assert self.named is not None
        return self.named.project(self.features.unsqueeze(0), [self.prompt], beside=True)

    @contextmanager
    def read(self, rows: int, out: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Features and bias for that many rows, which a layer that answers with `out` may be called with meanwhile."""
        features = self.features.to(out).expand(rows, -1, -1)
        bias = None if self.bias is None else self.bias.to(out).expand(rows, -1, -1)
        with self.named.reading(features, self.projected) if self.named else nullcontext():
            yield features, bias


def _read(pipeline: StableDiffusionPipeline, prompts: Sequence[str]) -> list[_Text]:
    with torch.no_grad():
        told = conditions_of(pipeline, prompts)
    named = named_weights(pipeline)
    biases = [None] * len(prompts) if told.mask is None else (1 - told.mask.to(told.features).unsqueeze(1)) * -10000.0
    parts = zip(prompts, told.features, biases, strict=True)
    return [_Text(prompt, features, bias, named) for prompt, features, bias in parts]


class _Regional:
    """A cross-attention processor: the one that it wraps, and once more for each region's cells.

    Args:
        inner: The wrapped processor.
        layout: Where the boxes are.
        texts: The prompts of each region.
        guided: Whether the first half of each batch is the unconditional one.
    """

    def __init__(
        self, inner: Any, layout: _Layout, texts: Sequence[Sequence[_Text]], guided: Callable[[], bool]
    ) -> None:
        self._inner, self._layout, self._texts, self._guided = inner, layout, texts, guided

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend; every tensor as diffusers' own processors take it, (N, S, C) in and out."""
        out: Tensor = self._inner(attn, hidden_states, encoder_hidden_states, attention_mask)
        first = len(out) // 2 if self._guided() else 0
        queries = hidden_states[first:]
        total = torch.zeros_like(out[first:])
        count = out.new_zeros(out.shape[1], 1)
        for cells, texts in zip(self._layout.cells(out.shape[1], out.device), self._texts, strict=True):
            for text in texts:
                with text.read(len(queries), out) as (features, bias):
                    shown = self._inner(attn, queries[:, cells], features, bias)
                total[:, cells] += shown / len(texts)
            count[cells] += 1
        return torch.cat([out[:first], torch.where(count > 0, total / count.clamp(min=1), out[first:])])


def _finest_level(config: Mapping[str, Any]) -> int:
    """How often the latents are halved before the first cross-attention: by a UNet's levels, or in patches."""
    if "patch_size" in config:
        return int(config["patch_size"]).bit_length() - 1
    return next((level for level, kind in enumerate(config["down_block_types"]) if "CrossAttn" in kind), 0)


def _halved(side: int, times: int) -> int:
    """A side after so many halvings, which round up."""
    for _ in range(times):
        side = (side + 1) // 2
    return side
