"""Which tokens may stand beside each other in one vocabulary; no torch.

Other programs, and an exported folder is read by them, find an added token inside longer words and in any case.
"""

from __future__ import annotations

from collections.abc import Mapping

from cns.templates import vector_tokens
from registry.errors import TokenTaken
from registry.objects import Concept


def check_free_tokens(
    token: str, name: str, concepts: Mapping[str, Concept], vectors: int = 1, command: str = ""
) -> None:
    """Refuse a token that is another concept's, is part of one, holds one, or differs from one in case alone.

    Args:
        token: The first one.
        name: The concept that shall have it; what it is now does not count.
        concepts: Those of the tree, by name.
        vectors: How many it has.
        command: What was typed, without a token; empty: a `cns add`.

    Raises:
        TokenTaken: There is such a concept.
    """
    for mine in vector_tokens(token, vectors):
        for other, concept in concepts.items():
            near = [one for one in concept.tokens if mine.lower() in one.lower() or one.lower() in mine.lower()]
            if near and other != name:
                raise TokenTaken(mine, name, other, f"{command} --token OTHER" if command else "", near[0])
