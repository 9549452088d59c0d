"""Prompts against what a tree knows: tokens that no concept has, and prompts for a model that lacks a concept.

An older model has never heard of `<rex>`: its tokenizer would take the token to pieces, and draw those. What a person
wants to see there is what that model makes of the same words, so a mention of a missing concept is read as its class
noun: `a <rex> dog` as `a dog`, `a <x1> apple` as `an apple`. A missing style is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import partial

from cns.templates import fill_template, is_further_vector, mention, whole_token
from cns_cli.porcelain.models.stored import kind_of
from registry.objects import Concept


def without_concepts(prompt: str, missing: Iterable[Concept]) -> str:
    """The prompt with every mention of these concepts read as its class noun, or left out where it is a style's."""
    for concept in missing:
        named = rf"(?P<article>\ban?\s+)?{mention(concept.tokens, concept.class_noun)}"
        if kind_of(concept) == "style":
            left_out = rf"{named}\s*(?=(?P<next>\w?))"
            prompt = re.sub(left_out, lambda one: _worded(one, one["next"]).removesuffix(one["next"]), prompt)
        else:
            prompt = re.sub(named, partial(_worded, noun=concept.class_noun), prompt)
    return prompt


def tokens_in(texts: Iterable[str], concepts: Mapping[str, Concept]) -> list[str]:
    """Names of the concepts that texts name by a token of theirs."""
    named = list(texts)
    patterns = {name: re.compile("|".join(map(whole_token, one.tokens))) for name, one in concepts.items()}
    return [name for name, pattern in patterns.items() if any(map(pattern.search, named))]


def read_without(concept: Concept) -> str:
    """How a model that lacks a concept reads its token, in words."""
    return "left out" if kind_of(concept) == "style" else f"read as {concept.class_noun!r}"


def unknown_tokens(texts: Iterable[str], known: Iterable[str], of_base: Iterable[str] = ()) -> tuple[str, ...]:
    """A warning for each `<token>` of some texts that belongs to nobody.

    Args:
        texts: What is drawn.
        known: Tokens of concepts.
        of_base: Tokens that the base's own tokenizer was given.
    """
    every = set(known)
    tokens = sorted(token for token in every if not is_further_vector(token, every))
    typed = {token for text in texts for token in re.findall(r"<[^<>\s]+>", text) if not _LORA.fullmatch(token)}
    there = f"this revision has {', '.join(tokens)}" if tokens else "this revision has no concept yet"
    warnings = []
    for token in sorted(typed - {*every, *of_base}):
        near = next((one for one in tokens if one.casefold() == token.casefold()), "")
        near = near or next(iter(get_close_matches(token, tokens, n=1, cutoff=0.75)), "")
        meant = f"did you mean {near}?" if near else there
        warnings.append(f"the prompt names {token}, which is no concept's token: {meant}")
    return tuple(warnings)


def other_syntax(texts: Iterable[str], concepts: Mapping[str, Concept]) -> tuple[str, ...]:
    """A warning for what other programs read as an order and cns draws as text, with what works in its place.

    Args:
        texts: What is drawn.
        concepts: Those that there are, by name.
    """
    texts, warnings = list(texts), []
    token = next((concept.tokens[0] for concept in concepts.values()), "<name>")
    for pattern, instead in _ELSEWHERE:
        if match := next(filter(None, map(pattern.search, texts)), None):
            warnings.append(f"{match[0]!r} is drawn as text: {instead.format(token=token)}")
    nouns = {concept.class_noun.casefold() for concept in concepts.values()}
    for name, concept in concepts.items():
        bare = re.compile(rf"(?<![\w<]){re.escape(name)}(?![\w>])", re.IGNORECASE)
        for text in texts if name.casefold() not in nouns else ():
            if (match := bare.search(text)) and not tokens_in([text], {name: concept}):
                warnings.append(f"{match[0]!r} is drawn as a word: the concept is named by {concept.tokens[0]}")
                break
    return tuple(warnings)


_LORA = re.compile(r"<(?:lora|lyco|hypernet):[^<>]*>", re.IGNORECASE)
_ELSEWHERE = (
    (_LORA, "a concept of this registry is named by its token alone, such as {token}"),
    (
        re.compile(r"\([^()]*[^\d\s()]\s*:\s*[-+]?\d*\.?\d+\s*\)"),
        "words have weights with pip install 'cns-cli[weights]', from 0 to 9.9, as in (dog:1.4)",
    ),
    (re.compile(r"\({2,}[^()]+\){2,}|\[{2,}[^\[\]]+\]{2,}"), "words have no weights here; write it without brackets"),
    (re.compile(r"\bBREAK\b|(?<=[a-z>)] )AND(?= )"), "what is to be seen where is said by --region"),
    (re.compile(r"(?<!\S)--[A-Za-z]+\b"), "options stand outside the quotes, or in a line of --prompts FILE"),
    (re.compile(r"\[[^\[\]]*[:|][^\[\]]*\]"), "a prompt is one from the first step to the last"),
    (re.compile(r"\bembedding:[\w.-]+"), "write the token itself, such as {token}"),
    (
        re.compile(r"\[(?:trigger|name|token|concept|subject)\]", re.IGNORECASE),
        "write the token itself, such as {token}",
    ),
    (
        re.compile(r"\{(?:name|token|trigger|prompt)?\}"),
        "that is for captions; write the token itself, such as {token}",
    ),
    (
        re.compile(r"\{[^{}]*\|[^{}]*\}|__[\w/-]+?__"),
        "a prompt has no choices; write each into a line of --prompts FILE",
    ),
)
"""Orders of other programs, and what to write here."""


def _worded(match: re.Match[str], noun: str) -> str:
    """The noun, with the article that fits where the text had one."""
    return noun if match["article"] is None else fill_template("a {}", noun)
