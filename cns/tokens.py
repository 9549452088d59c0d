"""Special tokens: how a concept's name enters the vocabulary, and how prompts become text features.

A concept owns one or more tokens, each with one embedding row. Rows of committed concepts never change again, and no
other row of the embedding is ever touched: during training the new row is a free parameter that replaces what the
embedding layer returns at the token's positions, so not even an optimizer's weight decay can reach the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from tokenizers import AddedToken
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from cns.errors import TokenError

_TOKEN = re.compile(r"^[A-Za-z0-9<>_.+*-]{1,64}$")


def check_new_token(tokenizer: CLIPTokenizer, token: str) -> None:
    """Refuse a token that already means something.

    Raises:
        TokenError: It holds a space or an odd character, or it is in the vocabulary already (as a piece, a whole
            word or an added token).
    """
    if not _TOKEN.fullmatch(token):
        raise TokenError(
            f"token {token!r} may hold only letters, digits and <>_.+*- (at most 64)", hint="cns add … --token '<name>'"
        )
    vocabulary = tokenizer.get_vocab()
    if any(form in vocabulary for form in (token, token.lower(), f"{token.lower()}</w>")):
        raise TokenError(
            f"token {token!r} is already in the vocabulary of this base model, with a meaning of its own",
            hint=f"cns add … --token '<{token.strip('<>')}-1>'",
        )


def install_tokens(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, rows: Mapping[str, Tensor]) -> None:
    """Give each token its embedding row, adding the tokens that the vocabulary lacks.

    Args:
        tokenizer: Changed in place.
        text_encoder: Changed in place: its embedding grows by the tokens that are new; all other rows keep their bits.
        rows: Token -> embedding row, shape (D,), float32. Tokens are added in sorted order, so ids depend on the set.
    """
    missing = sorted(token for token in rows if token not in tokenizer.get_added_vocab())
    if missing:
        tokenizer.add_tokens([AddedToken(token, normalized=False) for token in missing])
        _grow(text_encoder, len(tokenizer))
    weight = text_encoder.get_input_embeddings().weight
    with torch.no_grad():
        for token, row in rows.items():
            weight[tokenizer.convert_tokens_to_ids(token)] = row.to(weight)


def class_noun_row(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, class_noun: str) -> Tensor:
    """Mean embedding of the class noun's pieces, shape (D,), float32: where a special token starts."""
    ids = tokenizer(class_noun, add_special_tokens=False).input_ids
    if not ids:
        raise TokenError(f"class noun {class_noun!r} has no piece in the vocabulary", hint="cns add … --class NOUN")
    return text_encoder.get_input_embeddings().weight.detach()[ids].float().mean(0)


def token_ids(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """Padded and truncated ids of B prompts, shape (B, T), int64, T = the tokenizer's own length."""
    length = tokenizer.model_max_length
    return tokenizer(
        list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids


def encode_prompts(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, prompts: Sequence[str]) -> Tensor:
    """Text features that cross-attention sees, shape (B, T, D), in the text encoder's dtype; differentiable."""
    ids = token_ids(tokenizer, prompts).to(text_encoder.device)
    return text_encoder(ids).last_hidden_state


def content_positions(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """Which positions hold a prompt's own words: shape (B, T), bool; BOS, EOS and padding are False."""
    ids = token_ids(tokenizer, prompts)
    before_eos = (ids == tokenizer.eos_token_id).cumsum(1) == 0
    return before_eos & (ids != tokenizer.bos_token_id)


@contextmanager
def trainable_rows(text_encoder: CLIPTextModel, token_index: Mapping[int, Tensor]) -> Iterator[None]:
    """Within the context, the embedding layer returns these rows (with gradient) for these token ids.

    Args:
        text_encoder: Its weights are not changed.
        token_index: Token id -> row, shape (D,), a parameter.
    """

    def replace(_module: object, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        (ids,) = inputs
        for token_id, row in token_index.items():
            output = torch.where((ids == token_id).unsqueeze(-1), row.to(output.dtype), output)
        return output

    handle = text_encoder.get_input_embeddings().register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def _grow(text_encoder: CLIPTextModel, size: int) -> None:
    old = text_encoder.get_input_embeddings()
    if old.num_embeddings >= size:
        return
    new = torch.nn.Embedding(size, old.embedding_dim, device=old.weight.device, dtype=old.weight.dtype)
    with torch.no_grad():
        new.weight.zero_()
        new.weight[: old.num_embeddings] = old.weight
    new.weight.requires_grad_(old.weight.requires_grad)
    text_encoder.set_input_embeddings(new)
    text_encoder.config.vocab_size = size
