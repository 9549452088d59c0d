"""Numbers that are none: NaN and infinity are errors that name the part of the model that they come out of.

A black picture is equal to a black picture, so that whatever looked at pictures alone would call them unchanged.
"""

from __future__ import annotations

from torch import Tensor

from cns.errors import NotFiniteError

HINT = "cns doctor"
"""It compares the base's files with their digests; weights of a registry's base were finite when it was made."""


def is_finite(values: Tensor) -> bool:
    """Whether every value is a number."""
    return bool(values.isfinite().all())


def require_finite(values: Tensor, part: str, what: str) -> Tensor:
    """Return values that are all numbers.

    Args:
        values: Any shape.
        part: What they came out of, as people call it: "VAE encoder".
        what: What they are: "latents of the images".

    Raises:
        NotFiniteError: one is NaN or infinite.
    """
    if not is_finite(values):
        raise NotFiniteError(f"the {part} answers with NaN or infinity: {what} are no numbers", HINT, part=part)
    return values
