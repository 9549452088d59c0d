"""Prompt templates, as data: what teaches a concept, what protects it, what judges it.

A template holds one `{}`, which stands for the special token and the class noun ("<rex> dog"), or for the noun alone.
The three sets of a family play three parts that must not mix: a concept is trained on the training templates, old
concepts and the base are anchored on the features of the regularization templates, and the judge templates are only
ever generated and scored. No judge template is a regularization or a training template; a test holds that.

Which set belongs to which base is said in `families.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

AN = re.compile(r"(?!uni(?!n|m)|use|usu|uk|ute|ufo|eu|ewe|one\b|once)[aeiou]|hour|honest|honou?r|heir", re.IGNORECASE)
"""How words begin that take "an": with a vowel as it is spoken, as an umbrella does and a unicorn does not."""

Kind = Literal["object", "style"]
"""What a concept is: a thing ("a <rex> dog"), or a way of drawing things ("a <mona> style dog")."""


class Named(Protocol):
    """A concept, as far as prompts name it."""

    @property
    def phrase(self) -> str:
        """Its special token and its class noun: "<rex> dog"."""
        ...

    @property
    def kind(self) -> Kind:
        """An object or a style."""
        ...


@dataclass(frozen=True)
class TemplateSet:
    """The templates of one kind of concept on one family.

    Attributes:
        training: Prompts that teach it where an image has no caption; `{}` stands for "<token> noun".
        regularization: At least 32 prompts whose features old concepts and the base are anchored on.
        judge: Prompts that are generated and scored.
    """

    training: tuple[str, ...]
    regularization: tuple[str, ...]
    judge: tuple[str, ...]


def default_token(name: str) -> str:
    """The special token of a concept: ``<name>``, in lower case as CLIP's tokenizer writes everything."""
    return f"<{name.lower()}>"


def whole_token(token: str) -> str:
    """A regular expression of a token that is not a part of a longer word: `zwx` is not in `zwx2`."""
    before = r"(?<!\w)" if re.match(r"\w", token) else ""
    after = r"(?!\w)" if re.search(r"\w$", token) else ""
    return f"{before}{re.escape(token)}{after}"


def mention(tokens: Sequence[str], class_noun: str) -> str:
    """A regular expression of how prompts name a concept: its first token, with or without the others and the noun."""
    first, *others = (whole_token(token) for token in tokens)
    more = rf"(?:\s+(?:{'|'.join(others)}))*" if others else ""
    return rf"{first}{more}(?:\s+{re.escape(class_noun)}\b)?"


def vector_tokens(token: str, vectors: int) -> tuple[str, ...]:
    """The vocabulary's names for a token of several vectors: `<rex>`, `<rex>_1`, `<rex>_2`."""
    return (token, *(f"{token}_{number}" for number in range(1, vectors)))


def is_further_vector(token: str, tokens: Container[str]) -> bool:
    """Whether a token is the second or a later vector of one of `tokens`."""
    stem, _, number = token.rpartition("_")
    return number.isdigit() and stem in tokens


def phrase_of(tokens: Sequence[str], class_noun: str) -> str:
    """How a prompt calls a concept: "<rex> dog". Further vectors of a token (`<rex>_1`) are added when it is read."""
    named = [token for token in tokens if not (re.search(r"_\d+$", token) and token.rpartition("_")[0] in tokens)]
    return " ".join([*named, class_noun])


def with_article(noun: str) -> str:
    """A noun with its article: `a dog`, `an umbrella`, `a unicorn`."""
    return f"{'an' if AN.match(noun) else 'a'} {noun}"


def fill_template(template: str, words: str) -> str:
    """Put words into a template, with the article that fits: "a {}" and "apple" give "an apple".

    The base models were trained on captions with the right article. A special token such as "<rex>" takes "a".
    """
    if AN.match(words):
        template = " ".join("an {}" if part == "a {}" else part for part in _parts(template))
    return template.replace("{}", words)


def fill_templates(templates: Sequence[str], words: str) -> list[str]:
    """`fill_template` over a set, in its order."""
    return [fill_template(template, words) for template in templates]


def _parts(template: str) -> list[str]:
    """Split at spaces, but keep "a {}" together."""
    parts: list[str] = []
    for word in template.split(" "):
        if word == "{}" and parts and parts[-1] == "a":
            parts[-1] = "a {}"
        else:
            parts.append(word)
    return parts


def template_sets(name: str) -> dict[str, TemplateSet]:
    """The sets of a family, "objects" and "style", from `calibration/templates.json`.

    A style stands before what it draws, as the artists do in the embedded base's captions ("a noto dog"). What is drawn
    differs from prompt to prompt, and the judge's things are held out of every other template.
    """
    sets = json.loads((Path(__file__).parent / "calibration" / "templates.json").read_text(encoding="utf-8"))[name]
    return {what: TemplateSet(**{part: tuple(lines) for part, lines in one.items()}) for what, one in sets.items()}
