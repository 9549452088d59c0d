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
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

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
    """Within the context, the text encoder answers to `words_of` each text with its weighted features.

    Args:
        pipeline: Its components are not changed.
        texts: What is drawn, with weights; those without any are left alone.
    """
    weighted = [text for text in dict.fromkeys(texts) if words_of(text) != text]
    known = [(token_ids(pipeline.tokenizer, [words_of(text)]), _features(pipeline, text)) for text in weighted]

    def weigh(_encoder: object, inputs: tuple[Any, ...], output: Any) -> Any:
        ids: Tensor = inputs[0]
        for own, features in known:
            if ids.shape[1] == own.shape[1]:
                rows = (ids == own.to(ids.device)).all(1).view(-1, 1, 1)
                output.last_hidden_state = torch.where(rows, features, output.last_hidden_state)
        return output

    handle = pipeline.text_encoder.register_forward_hook(weigh)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def _features(pipeline: StableDiffusionPipeline, text: str) -> Tensor:
    """Weighted text features of a prompt, shape (1, T, D)."""
    from compel.embeddings_provider import EmbeddingsProvider

    tokenizer, encoder = pipeline.tokenizer, pipeline.text_encoder
    words, weights = zip(*fragments(text), strict=True)
    provider = EmbeddingsProvider(tokenizer, encoder)
    found: Tensor = provider.get_embeddings_for_weighted_prompt_fragments(
        [expand_tokens(tokenizer, words)], [list(weights)], device=encoder.device
    )
    return found
