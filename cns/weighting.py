"""Weights of words: "a (<rex> dog:1.3) in the snow", as other programs write them, by the library compel.

compel is handed fragments whose tokens have all their vectors named (`cns.tokens.expand_tokens`): of a token of several
it would read the first alone. Without a weight in them, its features are those of the text encoder, bit for bit.

Source: compel 2.5.1, `EmbeddingsProvider`. Above 1 the features of a fragment are scaled away from those of the empty
prompt; below 1 they are mixed with those of the prompt in which the fragment is hidden.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cns.denoiser import denoiser_of, projection_of
from cns.errors import SettingsError
from cns.text import answering, has_second_encoder, text_encoders, tokenizers
from cns.tokens import expand_tokens, token_ids

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline

_WEIGHTED = re.compile(r"\(([^()]*[^\d\s()])\s*:\s*(\d(?:\.\d+)?|\.\d+)\s*\)")


def can_weigh() -> bool:
    """Whether compel is installed: `pip install 'cns-cli[weights]'`."""
    return importlib.util.find_spec("compel") is not None


def words_of(text: str) -> str:
    """Return a prompt without the weights that are obeyed; without compel they are words as any others."""
    return _WEIGHTED.sub(r"\1", text) if can_weigh() else text


def fragments(text: str) -> list[tuple[str, float]]:
    """Split a prompt into its parts and their weights; put together again the parts are `words_of` it."""
    parts: list[tuple[str, float]] = []
    place = 0
    for match in _WEIGHTED.finditer(text):
        parts += [(text[place : match.start()], 1.0), (match[1], float(match[2]))]
        place = match.end()
    return [part for part in (*parts, (text[place:], 1.0)) if part[0].strip()]


@contextmanager
def weighing(pipeline: StableDiffusionPipeline, texts: Iterable[str]) -> Iterator[None]:
    """Within the context, the text encoders answer to `words_of` each text with its weighted features.

    A pooled vector, where the denoiser reads one, knows no weights: that is of the words alone.

    Args:
        pipeline: Its components are not changed.
        texts: What is drawn, with weights; those without any are left alone.
    """
    weighted = [text for text in dict.fromkeys(texts) if words_of(text) != text]
    if weighted and projection_of(denoiser_of(pipeline)):
        raise SettingsError(
            f"weights of words, as in {weighted[0][:60]!r}, are known of CLIP alone, and this base reads prompts by a "
            f"{type(pipeline.text_encoder).__name__}",
            "Leave them out, or write the brackets without a number",
            name="prompt",
            value=weighted[0],
        )
    known = [
        [(token_ids(tokenizer, [words_of(text)]), _features(pipeline, part, text)) for text in weighted]
        for part, tokenizer in enumerate(tokenizers(pipeline))
    ]
    with answering(pipeline, known):
        yield


@torch.no_grad()
def _features(pipeline: StableDiffusionPipeline, part: int, text: str) -> Tensor:
    """Weighted text features of a prompt by one of the encoders, shape (1, T, its width)."""
    from compel.embeddings_provider import EmbeddingsProvider, ReturnedEmbeddingsType

    tokenizer, encoder = tokenizers(pipeline)[part], text_encoders(pipeline)[part]
    words, weights = zip(*fragments(text), strict=True)
    kind = ReturnedEmbeddingsType.LAST_HIDDEN_STATES_NORMALIZED
    if has_second_encoder(pipeline):
        kind = ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED
    provider = EmbeddingsProvider(tokenizer, encoder, returned_embeddings_type=kind)
    found: Tensor = provider.get_embeddings_for_weighted_prompt_fragments(
        [expand_tokens(tokenizer, words)], [list(weights)], device=encoder.device
    )
    return found
