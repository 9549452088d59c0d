"""Composed weights, compared bit for bit."""

from __future__ import annotations

import hashlib

import numpy as np

from cns.compose import Weights


def weights_digest(weights: Weights) -> str:
    """SHA-256 over names and float32 bytes of composed weights: equal digests mean equal bits."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + b"\0")
        digest.update(np.ascontiguousarray(weights[name].numpy()).tobytes())
    return digest.hexdigest()
