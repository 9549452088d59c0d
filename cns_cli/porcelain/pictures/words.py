"""Prompts against what a tree knows: tokens that no concept has, and prompts for a model that lacks a concept.

An older model has never heard of `<rex>`: its tokenizer would take the token to pieces, and draw those. What a person
wants to see there is what that model makes of the same words, so a mention of a missing concept is read as its class
noun: `a <rex> dog` as `a dog`, `a <x1> apple` as `an apple`. A missing style is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial

from cns.templates import fill_template, mention, whole_token
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


def unknown_tokens(texts: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """A warning for each `<token>` of some texts that belongs to nobody."""
    tokens = sorted(known)
    unknown = sorted({token for text in texts for token in re.findall(r"<[^<>\s]+>", text)} - set(tokens))
    there = f"this revision has {', '.join(tokens)}" if tokens else "this revision has no concept yet"
    return tuple(f"the prompt names {token}, which is no concept's token: {there}" for token in unknown)


def _worded(match: re.Match[str], noun: str) -> str:
    """The noun, with the article that fits where the text had one."""
    return noun if match["article"] is None else fill_template("a {}", noun)
