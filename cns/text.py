"""How a base reads prompts: the one place that knows how many text encoders it has, and what its denoiser is told.

Stable Diffusion has one encoder; keys and values read its last hidden states. SDXL has two: keys and values read the
hidden states before their last layers, side by side, and the pooled vector of the second enters beside the timestep,
with how the picture was cut out of its original (the "time ids"). Both are computed from a prompt's own tokens alone.
PixArt has a T5, whose tokens see each other in both directions, and reads a prompt's own tokens alone: the padding is
masked, in the encoder and in cross-attention. Keys and values read its states through the denoiser's projection. Sana
has a Gemma, a language model, which reads an instruction before the prompt; the denoiser is not given its positions.

A token's row is one vector here, the rows of its encoders side by side. Rows of committed concepts never change again,
and no other row of an embedding is ever touched: during training the new row is a free parameter that replaces what the
embedding layers return at the token's positions, so not even an optimizer's weight decay can reach the others.

Source: Podell et al., "SDXL" (ICLR 2024), sections 2.1 and 2.2; `StableDiffusionXLPipeline.encode_prompt` of diffusers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from cns.denoiser import denoiser_of, project, projection_of
from cns.errors import TokenError
from cns.tokens import add_tokens, count_unseen, encoder_ids, word_ids

if TYPE_CHECKING:  # the classes are for annotations; importing them costs seconds and talks
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextModel, CLIPTokenizer

TOKENIZERS = ("tokenizer", "tokenizer_2")
ENCODERS = ("text_encoder", "text_encoder_2")
"""Names of a pipeline's parts, in the order in which their features and rows stand side by side."""

Bands = Sequence[tuple[int, float, float]]
"""For each encoder the width of its rows, and how short and how long one may be."""


@dataclass(frozen=True)
class Conditions:
    """What a denoiser is told of B prompts.

    Attributes:
        features: What keys and values read, shape (B, T, D).
        pooled: What enters beside the timestep, shape (B, P); None where nothing does.
        states: What the denoiser makes the features of by itself, shape (B, T, E); None where it is given the features.
        mask: Which positions are read, shape (B, T), int64, 1 or 0; None where all are.
        sized: Whether it is told the size of the picture, as PixArt-alpha is at 1024 pixels; None where nobody asks.
    """

    features: Tensor
    pooled: Tensor | None
    states: Tensor | None = None
    mask: Tensor | None = None
    sized: bool | None = None

    @property
    def given(self) -> Tensor:
        """The text as the denoiser is given it."""
        return self.features if self.states is None else self.states

    @property
    def read(self) -> Tensor:
        """Which positions are read, shape (B, T), bool."""
        return torch.ones_like(self.features[..., 0], dtype=torch.bool) if self.mask is None else self.mask > 0

    def pick(self, rows: Sequence[int]) -> Conditions:
        """These of the prompts, in this order."""
        index = torch.tensor(rows, device=self.features.device)
        pooled, states, mask = (None if one is None else one[index] for one in (self.pooled, self.states, self.mask))
        return Conditions(self.features[index], pooled, states, mask, self.sized)

    def inputs(self, height: int, width: int, framings: Tensor | None = None) -> dict[str, Any]:
        """Arguments of the denoiser.

        Args:
            height: Of the pictures, pixels.
            width: Likewise.
            framings: How each was cut out of its original, see `cns.files.squares.Framing`, shape (B, 4); None: not.
        """
        told: dict[str, Any] = {"encoder_hidden_states": self.given}
        if self.mask is not None:
            told["encoder_attention_mask"] = self.mask
        if self.sized is not None:
            size = self.given.new_tensor([[height, width]]).expand(len(self.given), -1) if self.sized else None
            added = {"resolution": size, "aspect_ratio": None if size is None else size[:, :1] / size[:, 1:]}
            return {**told, "added_cond_kwargs": added}
        if self.pooled is None:
            return told
        whole = self.pooled.new_tensor([height, width, 0, 0])
        cut = whole.expand(len(self.pooled), -1) if framings is None else framings.to(self.pooled)
        time_ids = torch.cat([cut, whole[:2].expand(len(cut), -1)], 1)
        added = {"text_embeds": self.pooled, "time_ids": time_ids}
        return {**told, "added_cond_kwargs": added}


def tokenizers(pipeline: StableDiffusionPipeline) -> list[CLIPTokenizer]:
    """A pipeline's tokenizers; they cut every prompt alike, but for what they fill it up with."""
    return [getattr(pipeline, name) for name in TOKENIZERS if hasattr(pipeline, name)]


def text_encoders(pipeline: StableDiffusionPipeline) -> list[CLIPTextModel]:
    """The text encoder of each tokenizer."""
    return [getattr(pipeline, name) for name in ENCODERS if hasattr(pipeline, name)]


def conditions_of(pipeline: StableDiffusionPipeline, prompts: Sequence[str]) -> Conditions:
    """What the denoiser is told of B prompts, in the encoders' dtype; differentiable."""
    ids, words = [encoder_ids(one, prompts) for one in tokenizers(pipeline)], pipeline.tokenizer
    denoiser, encoders = denoiser_of(pipeline), text_encoders(pipeline)
    if not projection_of(denoiser):
        return read(encoders, ids)
    longest = 1 + int((ids[0] != words.pad_token_id).any(0).nonzero().max())
    return read_masked(denoiser, encoders[0], ids[0][:, :longest], words.model_max_length, count_unseen(words))


def encode_prompts(pipeline: StableDiffusionPipeline, prompts: Sequence[str]) -> Tensor:
    """Text features that cross-attention sees, shape (B, T, D), in the text encoders' dtype; differentiable."""
    return conditions_of(pipeline, prompts).features


def read(encoders: Sequence[CLIPTextModel], ids: Sequence[Tensor]) -> Conditions:
    """Conditions of prompts by their ids, shape (B, T), int64, for each encoder."""
    ids = [one.to(encoders[0].device) for one in ids]
    if len(encoders) == 1:
        return Conditions(encoders[0](*ids).last_hidden_state, None)
    answers = [encoder(own, output_hidden_states=True) for encoder, own in zip(encoders, ids, strict=True)]
    return Conditions(torch.cat([one.hidden_states[-2] for one in answers], -1), answers[-1].text_embeds)


def read_masked(denoiser: Any, encoder: Any, ids: Tensor, length: int, unseen: int = 0) -> Conditions:
    """Conditions of prompts whose padding is read by nobody, so that none of it need be computed.

    An instruction is the same for all of them and knows nothing of what follows it, so it is read once.

    Args:
        denoiser: It projects what the encoder writes.
        encoder: A T5 or a Gemma.
        ids: Without the padding behind the longest prompt, shape (B, L), int64.
        length: T of the conditions.
        unseen: How many positions behind the first one the denoiser is not given (`cns.tokens.count_unseen`).
    """
    ids = ids.to(encoder.device)
    words = ids != encoder.config.pad_token_id  # what follows the last one is padding
    mask = words.flip(1).cumsum(1).flip(1).clamp(max=1)
    if unseen:
        with torch.no_grad():
            told = encoder(ids[:1, : 1 + unseen], use_cache=True)
        told.past_key_values.batch_repeat_interleave(len(ids))
        own = encoder(ids[:, 1 + unseen :], attention_mask=mask, past_key_values=told.past_key_values)
        states = torch.cat([told.last_hidden_state[:, :1].expand(len(ids), -1, -1), own.last_hidden_state], 1)
        mask = torch.cat([mask[:, :1], mask[:, 1 + unseen :]], 1)
    else:
        states = encoder(ids, attention_mask=mask).last_hidden_state
    states, mask = pad(states, (0, 0, 0, length - states.shape[1])), pad(mask, (0, length - mask.shape[1]))
    sized = getattr(denoiser, "use_additional_conditions", None)
    return Conditions(project(denoiser, states), None, states, mask, sized)


def has_second_encoder(pipeline: StableDiffusionPipeline) -> bool:
    """Whether it reads as SDXL does: penultimate hidden states of two encoders, a pooled vector, and framings."""
    return len(text_encoders(pipeline)) > 1


@contextmanager
def answering(pipeline: StableDiffusionPipeline, answers: Sequence[Sequence[tuple[Tensor, Tensor]]]) -> Iterator[None]:
    """Within the context, the text encoders have other features for some prompts than they compute.

    Args:
        pipeline: Its components are not changed.
        answers: For each encoder, the ids of a prompt, shape (1, T), with its features, shape (1, T, its width).
    """

    def answer(known: Sequence[tuple[Tensor, Tensor]], _encoder: object, inputs: tuple[Any, ...], output: Any) -> Any:
        for own, features in known:
            if inputs[0].shape[1] == own.shape[1]:
                own, features = (one.to(inputs[0].device) for one in (own, features))
                rows = (inputs[0] == own).all(1).view(-1, 1, 1)
                if has_second_encoder(pipeline):
                    *before, read, last = output.hidden_states
                    output.hidden_states = (*before, torch.where(rows, features, read), last)
                else:
                    output.last_hidden_state = torch.where(rows, features, output.last_hidden_state)
        return output

    both = zip(text_encoders(pipeline), answers, strict=True)
    handles = [encoder.register_forward_hook(partial(answer, known)) for encoder, known in both]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def install_tokens(pipeline: StableDiffusionPipeline, rows: Mapping[str, Tensor]) -> None:
    """Give each token its row, adding the tokens that the vocabulary lacks.

    Args:
        pipeline: Its tokenizers and text encoders are changed in place: embeddings grow by the tokens that are new; all
            other rows keep their bits.
        rows: Token -> row, shape (D,), float32. Tokens are added in sorted order, so ids depend on the set.
    """
    for part, (tokenizer, encoder) in enumerate(zip(tokenizers(pipeline), text_encoders(pipeline), strict=True)):
        if add_tokens(tokenizer, rows):
            _grow(encoder, len(tokenizer))
        weight = encoder.get_input_embeddings().weight
        with torch.no_grad():
            for token, row in rows.items():
                weight[tokenizer.convert_tokens_to_ids(token)] = _parts(pipeline, row)[part].to(weight)


def class_noun_row(pipeline: StableDiffusionPipeline, class_noun: str) -> Tensor:
    """Mean embedding of the class noun's pieces, shape (D,), float32: where a special token starts."""
    ids = word_ids(pipeline.tokenizer, class_noun)
    if not ids:
        raise TokenError(f"class noun {class_noun!r} has no piece in the vocabulary", hint="cns add … --class NOUN")
    return torch.cat([weight[ids].float().mean(0) for weight in embeddings(pipeline)])


def embeddings(pipeline: StableDiffusionPipeline) -> list[Tensor]:
    """Each encoder's embedding of its vocabulary, shape (V, its width): not a copy."""
    return [encoder.get_input_embeddings().weight.detach() for encoder in text_encoders(pipeline)]


def norm_bands(pipeline: StableDiffusionPipeline, row: Tensor) -> Bands:
    """How short and how long a token's row may be: as the shortest and the longest row of the base's own vocabulary.

    The text encoder never read a longer one in its training, and on the embedded base a row that is free to grow
    becomes longer (docs/method.md). Whether that does harm is another question, so that the guard is off unless asked
    for. The band is widened to hold the row that the token starts at.

    Args:
        pipeline: Its tokenizer says how many rows are the base's own.
        row: Where the token starts, shape (D,) or (V, D).
    """
    bands = []
    for table, part in zip(embeddings(pipeline), _parts(pipeline, row.detach()), strict=True):
        own, width = table[: pipeline.tokenizer.vocab_size], table.shape[1]
        norms = torch.cat([own.float().norm(dim=1), part.float().reshape(-1, width).norm(dim=1)])
        bands.append((width, float(norms.min()), float(norms.max())))
    return bands


def keep_norms(rows: Tensor, bands: Bands) -> None:
    """Scale each row, shape (D,) or (V, D), into its bands, in place; what lies within keeps its bits."""
    with torch.no_grad():
        for part, (_, least, most) in zip(rows.split([one[0] for one in bands], -1), bands, strict=True):
            norms = part.norm(dim=-1, keepdim=True)
            factor = norms.clamp(least, most) / norms.clamp_min(1e-12)
            part.copy_(torch.where((norms < least) | (norms > most), part * factor, part))


@contextmanager
def trainable_rows(pipeline: StableDiffusionPipeline, token_index: Mapping[int, Tensor]) -> Iterator[None]:
    """Within the context, the embedding layers return these rows (with gradient) for these token ids.

    Args:
        pipeline: Its weights are not changed.
        token_index: Token id -> row, shape (D,), a parameter.
    """

    def replace(part: int, layer: object, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        (ids,) = inputs
        for token_id, row in token_index.items():
            own = _parts(pipeline, row)[part].to(output.dtype) * getattr(layer, "embed_scale", 1)  # Gemma's
            output = torch.where((ids == token_id).unsqueeze(-1), own, output)
        return output

    layers = [encoder.get_input_embeddings() for encoder in text_encoders(pipeline)]
    handles = [layer.register_forward_hook(partial(replace, part)) for part, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _parts(pipeline: StableDiffusionPipeline, rows: Tensor) -> Sequence[Tensor]:
    """What each encoder has of rows, shape (…, D)."""
    return rows.split([weight.shape[1] for weight in embeddings(pipeline)], -1)


def _grow(text_encoder: CLIPTextModel, size: int) -> None:
    """Give the embedding rows for as many words; the layer stays, since Gemma's does more than to look up."""
    layer = text_encoder.get_input_embeddings()
    if layer.num_embeddings >= size:
        return
    old = layer.weight
    new = old.new_zeros((size, old.shape[1]))
    new[: len(old)] = old.detach()
    layer.weight = torch.nn.Parameter(new, requires_grad=old.requires_grad)
    layer.num_embeddings = text_encoder.config.vocab_size = size
