"""Special tokens: how a concept's name enters the vocabulary, and how prompts become text features.

A concept owns one or more tokens, each with one embedding row. Rows of committed concepts never change again, and no
other row of the embedding is ever touched: during training the new row is a free parameter that replaces what the
embedding layer returns at the token's positions, so not even an optimizer's weight decay can reach the others.

A token of several vectors is several tokens of the vocabulary, `<rex>`, `<rex>_1`, `<rex>_2`: the names under which
diffusers looks for them when a prompt says `<rex>`. People type the first one alone; `expand_tokens` does for our own
prompts what diffusers' pipelines do for theirs.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from tokenizers import AddedToken
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from cns.errors import SettingsError, TokenError
from cns.templates import is_further_vector, vector_tokens, whole_token

_TOKEN = re.compile(r"^[A-Za-z0-9<>_.+*-]{1,64}$")


def check_new_token(tokenizer: CLIPTokenizer, token: str) -> None:
    """Refuse a token that already means something.

    Raises:
        TokenError: It holds a space or an odd character, or it is in the vocabulary already (as a piece, a whole
            word or an added token), or is part of a word there: diffusers finds added tokens within words.
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
    if word := _word_that_holds(token, vocabulary):
        raise TokenError(
            f"token {token!r} is part of the word {word!r}, where other programs would find it",
            hint=f"cns add … --token '<{token}>'",
            token=token,
        )
    if is_further_vector(token, vocabulary):
        stem = token.rpartition("_")[0]
        raise TokenError(
            f"token {token!r} would be read as a further vector of {stem!r}: expected no number at its end",
            hint=f"cns add … --token '<{token.strip('<>')}-1>'",
            token=token,
        )


def _word_that_holds(token: str, vocabulary: Collection[str]) -> str:
    """The first word of letters, by the alphabet, that holds a token in any case; empty where none does."""
    words = (one.removesuffix("</w>") for one in vocabulary if one.endswith("</w>"))
    return min((word for word in words if token.lower() in word and word.isalpha()), default="")


def install_tokens(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, rows: Mapping[str, Tensor]) -> None:
    """Give each token its embedding row, adding the tokens that the vocabulary lacks.

    Args:
        tokenizer: Changed in place.
        text_encoder: Changed in place: its embedding grows by the tokens that are new; all other rows keep their bits.
        rows: Token -> embedding row, shape (D,), float32. Tokens are added in sorted order, so ids depend on the set.
    """
    missing = sorted(token for token in rows if token not in tokenizer.get_added_vocab())
    if missing:
        tokenizer.add_tokens([_added(token) for token in missing])
        _grow(text_encoder, len(tokenizer))
    weight = text_encoder.get_input_embeddings().weight
    with torch.no_grad():
        for token, row in rows.items():
            weight[tokenizer.convert_tokens_to_ids(token)] = row.to(weight)


def with_tokens(tokenizer: CLIPTokenizer, tokens: Iterable[str]) -> CLIPTokenizer:
    """A copy of the tokenizer whose vocabulary has these tokens, too: to read prompts before anything is installed."""
    reading = copy.deepcopy(tokenizer)
    reading.add_tokens([_added(token) for token in sorted(set(tokens) - reading.get_added_vocab().keys())])
    return reading


def check_read(tokenizer: CLIPTokenizer, prompts: Iterable[str], tokens: Sequence[str]) -> None:
    """Refuse prompts that hold a token, or one of its vectors, only beyond what the text encoder reads.

    Such a row would not be trained, and would be committed as it was made.

    Args:
        tokenizer: Its vocabulary has the tokens.
        prompts: As people write them; further vectors are added here.
        tokens: The token and its further vectors.

    Raises:
        SettingsError: One is such; the message shows it.
    """
    ids = tokenizer.convert_tokens_to_ids(list(tokens))
    for prompt in prompts:
        (expanded,) = expand_tokens(tokenizer, [prompt])
        read = tokenizer(expanded, truncation=True).input_ids
        if unread := [token for token, one in zip(tokens, ids, strict=True) if one not in read]:
            some = f"{len(unread)} of the {len(tokens)} vectors of {tokens[0]} stand"
            raise SettingsError(
                f"{some if len(tokens) > 1 else f'{unread[0]} stands'} beyond the {tokenizer.model_max_length} tokens "
                f"that the text encoder reads of the prompt {prompt[:60]!r}…, and would never be trained",
                f"Shorten the caption,{' take fewer --vectors,' if len(tokens) > 1 else ''} or mark the place of the "
                "token near its beginning by {name}",
            )


def count_cut(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> int:
    """How many prompts are longer than what the text encoder reads."""
    lengths = [len(ids) for ids in tokenizer(expand_tokens(tokenizer, prompts)).input_ids] if prompts else []
    return sum(length > tokenizer.model_max_length for length in lengths)


def _added(token: str) -> AddedToken:
    """A token of the vocabulary; one that is a word is not found within longer words, as `whole_token` has it."""
    is_word = re.fullmatch(r"\w(.*\w)?", token) is not None
    return AddedToken(token, normalized=False, single_word=is_word)


def expand_tokens(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> list[str]:
    """Name all vectors of each token in prompts: "a <rex> dog" -> "a <rex> <rex>_1 dog".

    What `TextualInversionLoaderMixin.maybe_convert_prompt` of diffusers does to a prompt before it is encoded, except
    that a token without brackets is not looked for within longer words, and vectors that are named already stay alone.
    """
    added = tokenizer.get_added_vocab()
    several = [token for token in sorted(added) if f"{token}_1" in added]
    expanded = list(prompts)
    for token in several:
        count = next(number for number in itertools.count(1) if f"{token}_{number}" not in added)
        every = " ".join(vector_tokens(token, count))
        named = rf"{whole_token(token)}(?!_\d)(?:\s+{re.escape(token)}_\d+)*"
        expanded = [re.sub(named, every, prompt) for prompt in expanded]
    return expanded


def class_noun_row(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, class_noun: str) -> Tensor:
    """Mean embedding of the class noun's pieces, shape (D,), float32: where a special token starts."""
    ids = tokenizer(class_noun, add_special_tokens=False).input_ids
    if not ids:
        raise TokenError(f"class noun {class_noun!r} has no piece in the vocabulary", hint="cns add … --class NOUN")
    return text_encoder.get_input_embeddings().weight.detach()[ids].float().mean(0)


def norm_band(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, row: Tensor) -> tuple[float, float]:
    """How short and how long a token's row may be: as the shortest and the longest row of the base's own vocabulary.

    The text encoder never read a longer one in its training, and on the embedded base a row that is free to grow
    becomes longer (docs/method.md). Whether that does harm is another question, so that the guard is off unless asked
    for. The band is widened to hold the row that the token starts at.

    Args:
        tokenizer: Says how many rows are the base's own.
        text_encoder: Has the rows.
        row: Where the token starts, shape (D,) or (V, D).
    """
    weight = text_encoder.get_input_embeddings().weight.detach()[: tokenizer.vocab_size]
    norms = torch.cat([weight.float().norm(dim=1), row.detach().float().reshape(-1, weight.shape[1]).norm(dim=1)])
    return float(norms.min()), float(norms.max())


def keep_norm(rows: Tensor, band: tuple[float, float]) -> None:
    """Scale each row, shape (D,) or (V, D), into the band, in place; what lies within keeps its bits."""
    with torch.no_grad():
        norms = rows.norm(dim=-1, keepdim=True)
        factor = norms.clamp(*band) / norms.clamp_min(1e-12)
        rows.copy_(torch.where((norms < band[0]) | (norms > band[1]), rows * factor, rows))


def token_ids(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """Padded and truncated ids of B prompts, shape (B, T), int64, T = the tokenizer's own length."""
    length = tokenizer.model_max_length
    return tokenizer(
        expand_tokens(tokenizer, prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
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
