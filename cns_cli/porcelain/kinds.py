"""Whether a stored concept is an object or a style: its recipe says so where it is a style, and else says nothing."""

from __future__ import annotations

from cns.templates import Kind
from registry.objects import Concept

STYLE_NOUN = "style"
"""Class noun of a style: "a <mona> style dog"."""


def kind_of(concept: Concept) -> Kind:
    """The kind of a concept."""
    return "style" if concept.recipe.get("kind") == "style" else "object"
