"""The directions of a whole change, in the header of our own files: with them its factors are found again.

In a file of whole matrices, O U^T (`cns.factors`) looks like any other change. The header names U, eight bits a number;
O is the solution of least squares, and the reader checks that their product is the change, bit for bit.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cns.adapters.rules import Array
from cns.errors import AdapterError
from cns.factors import MAX_RANK

DIRECTIONS = "cns.directions"
"""Name of the header's entry."""


def named_directions(basis: NDArray[np.int8]) -> str:
    """What the header says of U, shape (I, r)."""
    return json.dumps([base64.b64encode(column.tobytes()).decode() for column in basis.T])


def read_directions(path: Path, text: str, width: int) -> Array:
    """U^T, shape (r, I), by what the header says of it.

    Args:
        path: The file.
        text: The header's entry.
        width: I.

    Raises:
        AdapterError: It is damaged, or of another width.
    """
    try:
        rows = [np.frombuffer(base64.b64decode(one, validate=True), np.int8) for one in json.loads(text)]
        if not 1 <= len(rows) <= MAX_RANK or any(len(row) != width for row in rows):
            raise ValueError(f"expected 1 to {MAX_RANK} of {width} numbers")
    except (ValueError, TypeError, RecursionError) as error:
        raise AdapterError(
            f"{path} names directions in its header that cannot be read", "export it again", path=path
        ) from error
    return np.stack(rows).astype(np.float64)


def outputs_along(directions: Array, change: Array) -> Array:
    """O, shape (O, r), by which O U^T comes nearest to a change, (O, I)."""
    return np.linalg.lstsq(directions.T, change.T, rcond=None)[0].T.astype(np.float64)
