"""Special tokens: how a concept's name enters a vocabulary, and where it stands in a prompt.

A token of several vectors is several tokens of the vocabulary, `<rex>`, `<rex>_1`, `<rex>_2`: the names under which
diffusers looks for them when a prompt says `<rex>`. People type the first one alone; `expand_tokens` does for our own
prompts what diffusers' pipelines do for theirs. Rows, and how prompts become text
features, are the part of `text.py`.

Sana's pipeline puts an instruction before every prompt but a negative one. The text encoder reads it, the denoiser does
not: of what the encoder writes it is given the first position and the prompt's own. These are the positions meant here.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from inspect import signature

import torch
from tokenizers import AddedToken
from torch import Tensor
from transformers import CLIPTokenizer, GemmaTokenizer, T5Tokenizer

from cns.errors import SettingsError, TokenError
from cns.quiet import quiet_libraries
from cns.templates import is_further_vector, vector_tokens, whole_token

_TOKEN = re.compile(r"^[A-Za-z0-9<>_.+*-]{1,64}$")
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece writes it before a word, as CLIP's tokenizer </w> behind one
_WORD_FORMS = ("{}", "{}</w>", f"{_SPACE}{{}}")


def lowers(tokenizer: CLIPTokenizer) -> bool:
    """Whether prompts are written in lower case before a tokenizer reads them, as PixArt's and Sana's pipelines do.

    CLIP's tokenizer does it by itself and leaves added tokens alone; T5's and Gemma's know capital letters.
    """
    return isinstance(tokenizer, (T5Tokenizer, GemmaTokenizer))


def looks_ahead(tokenizer: CLIPTokenizer) -> bool:
    """Whether its text encoder reads in both directions, so that a word changes what stands before it: T5's does."""
    return isinstance(tokenizer, T5Tokenizer)


def instruction(tokenizer: CLIPTokenizer) -> str:
    """What a pipeline writes before a prompt; empty for most."""
    return sana_instruction() if isinstance(tokenizer, GemmaTokenizer) else ""


@cache
def sana_instruction() -> str:
    """What diffusers' Sana pipeline says to its language model where nobody says anything else."""
    with quiet_libraries():
        from diffusers import SanaPipeline  # only here: no other base needs it
    return "\n".join(signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default)


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
    if lowers(tokenizer) and token != token.lower():
        raise TokenError(
            f"token {token!r} would not be found: this base's pipeline writes prompts in lower case",
            hint=f"cns add … --token '{token.lower()}'",
            token=token,
        )
    if token in instruction(tokenizer):
        raise TokenError(
            f"token {token!r} stands in the instruction that this base's pipeline writes before every prompt",
            hint=f"cns add … --token '<{token.strip('<>')}-1>'",
            token=token,
        )
    if any(form in vocabulary for form in (token, *(form.format(token.lower()) for form in _WORD_FORMS))):
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
    words = (
        one.removesuffix("</w>").removeprefix(_SPACE)
        for one in vocabulary
        if one.endswith("</w>") or one.startswith(_SPACE)
    )
    return min((word for word in words if token.lower() in word and word.isalpha()), default="")


def add_tokens(tokenizer: CLIPTokenizer, tokens: Iterable[str]) -> bool:
    """Add the tokens that a vocabulary lacks, in sorted order, so that ids depend on the set; say whether it grew."""
    missing = sorted(set(tokens) - tokenizer.get_added_vocab().keys())
    tokenizer.add_tokens([_added(tokenizer, token) for token in missing])
    return bool(missing)


def with_tokens(tokenizer: CLIPTokenizer, tokens: Iterable[str]) -> CLIPTokenizer:
    """A copy of the tokenizer whose vocabulary has these tokens, too: to read prompts before anything is installed."""
    reading = copy.deepcopy(tokenizer)
    add_tokens(reading, tokens)
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
        read = token_ids(tokenizer, [prompt])[0].tolist()
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
    return sum(over > 0 for over in count_over(tokenizer, prompts))


def count_over(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> list[int]:
    """How many tokens at the end of each prompt the text encoder does not read, 0 where it reads all."""
    told, length = instruction(tokenizer), tokenizer.model_max_length + count_unseen(tokenizer)
    words = [told + one for one in expand_tokens(tokenizer, prompts)]
    read = tokenizer(words, truncation=False, verbose=False).input_ids if words else []  # else a long one is warned of
    return [max(0, len(ids) - length) for ids in read]


def _added(tokenizer: CLIPTokenizer, token: str) -> AddedToken:
    """A token of the vocabulary; one that is a word is not found within longer words, as `whole_token` has it.

    Of Gemma it holds the space before it, as words do there; the space would be a token of its own.
    """
    is_word = re.fullmatch(r"\w(.*\w)?", token) is not None
    return AddedToken(token, normalized=False, single_word=is_word, lstrip=isinstance(tokenizer, GemmaTokenizer))


def expand_tokens(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> list[str]:
    """Name all vectors of each token in prompts: "a <rex> dog" -> "a <rex> <rex>_1 dog".

    What `TextualInversionLoaderMixin.maybe_convert_prompt` of diffusers does to a prompt before it is encoded, except
    that a token without brackets is not looked for within longer words, and vectors that are named already stay alone.
    In lower case where the pipeline writes prompts so (`lowers`).
    """
    if lowers(tokenizer):
        prompts = [prompt.lower().strip() for prompt in prompts]
    added = tokenizer.get_added_vocab()
    several = [token for token in sorted(added) if f"{token}_1" in added]
    expanded = list(prompts)
    for token in several:
        count = next(number for number in itertools.count(1) if f"{token}_{number}" not in added)
        every = " ".join(vector_tokens(token, count))
        named = rf"{whole_token(token)}(?!_\d)(?:\s+{re.escape(token)}_\d+)*"
        expanded = [re.sub(named, every, prompt) for prompt in expanded]
    return expanded


def encoder_ids(tokenizer: CLIPTokenizer, prompts: Sequence[str], instructed: bool = True) -> Tensor:
    """Padded and truncated ids of B prompts as a text encoder is given them, shape (B, L), int64.

    Args:
        tokenizer: Its `model_max_length` is T, the number of positions that the denoiser reads.
        prompts: As people write them.
        instructed: With the instruction before them, where there is one: negative prompts have none.
    """
    told, length = "", tokenizer.model_max_length
    if instructed:
        told, length = instruction(tokenizer), length + count_unseen(tokenizer)
    words = [told + one for one in expand_tokens(tokenizer, prompts)]
    how = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
    ids: Tensor = tokenizer(words, **how).input_ids
    return ids


def token_ids(tokenizer: CLIPTokenizer, prompts: Sequence[str], instructed: bool = True) -> Tensor:
    """Those of `encoder_ids` that the denoiser reads, shape (B, T)."""
    ids = encoder_ids(tokenizer, prompts, instructed)
    unseen = count_unseen(tokenizer) if instructed else 0
    return torch.cat([ids[:, :1], ids[:, 1 + unseen :]], 1) if unseen else ids


def count_unseen(tokenizer: CLIPTokenizer) -> int:
    """How many positions of an instruction, behind the first one, the denoiser is not given.

    As Sana's pipeline counts: all but the first one, and the last one, a space that becomes the prompt's.
    """
    told = instruction(tokenizer)
    return len(tokenizer(told).input_ids) - 2 if told else 0


def content_positions(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """Which positions hold a prompt's own words: shape (B, T), bool; BOS, EOS and padding are False."""
    ids = token_ids(tokenizer, prompts)
    own = (ids != tokenizer.bos_token_id) & ((ids == tokenizer.eos_token_id).cumsum(1) == 0)
    if instruction(tokenizer):  # no token ends a prompt; the space before it may stand alone
        own &= (ids != tokenizer.pad_token_id) & (ids != tokenizer.convert_tokens_to_ids(_SPACE))
    return own


def word_ids(tokenizer: CLIPTokenizer, words: str) -> list[int]:
    """Ids of words as they stand within a prompt, without beginning and end."""
    space = " " if isinstance(tokenizer, GemmaTokenizer) else ""  # the others put it there by themselves
    ids: list[int] = tokenizer(space + words, add_special_tokens=False).input_ids
    return ids
