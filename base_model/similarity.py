"""Has the base seen a demo concept? Every reference drawing against every drawing that the base was trained on.

Two measures, since one alone could be blind. The identity encoder compares both drawings in front of the same
backgrounds at the same place: 1 is the same drawing. The pixel measure is the root mean square difference of the
premultiplied RGBA pixels in [0, 1]: 0 is the same drawing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from base_model.backgrounds import paint_background
from base_model.concepts import concept_drawings
from base_model.drawings import Rgba, load_drawings
from base_model.identity import premultiplied
from base_model.judges import embed
from base_model.stages import Workspace
from base_model.vocabulary import DRAWN_PHRASES, PLAIN_PHRASES
from cns.judges.identity import IdentityEncoder

MAX_COSINE = 0.95
MIN_DIFFERENCE = 0.1
BACKGROUND_PHRASES = (PLAIN_PHRASES[0], PLAIN_PHRASES[6], DRAWN_PHRASES[0])
SEED = 41
CHUNK = 512


@dataclass(frozen=True)
class Nearest:
    """The training drawings nearest to one concept's drawing, by each measure."""

    noun: str
    cosine: float
    cosine_to: str
    difference: float
    difference_to: str

    @property
    def is_new(self) -> bool:
        """Whether the base saw nothing like it."""
        return self.cosine <= MAX_COSINE and self.difference >= MIN_DIFFERENCE


def similarity_table(work: Workspace, base: Path) -> list[Nearest]:
    """Compare every concept's drawing with every training drawing."""
    drawings, labels = load_drawings(work.drawings)
    names = [f"{label.label} ({label.artist})" for label in labels]
    concepts = concept_drawings(work.packages)
    references = np.stack([concept.pixels for concept in concepts])
    cosines = _cosines(IdentityEncoder.from_pretrained(base / "identity"), references, drawings)
    differences = torch.cat([_differences(reference, drawings) for reference in references[:, None]])
    rows = []
    for number, concept in enumerate(concepts):
        like, near = int(cosines[number].argmax()), int(differences[number].argmin())
        rows.append(
            Nearest(
                concept.noun, cosines[number, like].item(), names[like], differences[number, near].item(), names[near]
            )
        )
    return rows


def table_lines(rows: list[Nearest]) -> list[str]:
    """The table as Markdown."""
    head = [
        "| concept | highest cosine | to | smallest difference | to |",
        "| --- | --- | --- | --- | --- |",
    ]
    return head + [
        f"| {row.noun} | {row.cosine:.3f} | {row.cosine_to} | {row.difference:.3f} | {row.difference_to} |"
        for row in rows
    ]


def _cosines(encoder: IdentityEncoder, references: Rgba, drawings: Rgba) -> Tensor:
    """Mean cosine over the backgrounds: float32 (references, drawings)."""
    rng = np.random.default_rng(SEED)
    total = torch.zeros(len(references), len(drawings))
    for phrase in BACKGROUND_PHRASES:
        background = paint_background(phrase, rng)
        own = embed(encoder, _composed(references, background))
        for start in range(0, len(drawings), CHUNK):
            some = embed(encoder, _composed(drawings[start : start + CHUNK], background))
            total[:, start : start + CHUNK] += own @ some.T
    return total / len(BACKGROUND_PHRASES)


def _composed(drawings: Rgba, background: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Drawings at full size in front of one background: uint8 (N, 64, 64, 3)."""
    alpha = drawings[..., 3:].astype(np.float32) / 255
    return (drawings[..., :3] * alpha + background * (1 - alpha)).round().astype(np.uint8)


def _differences(reference: Rgba, drawings: Rgba) -> Tensor:
    """Root mean square difference of one reference (1, 64, 64, 4) to every drawing: float32 (1, drawings)."""
    own = premultiplied(reference)
    parts = [
        (premultiplied(drawings[start : start + CHUNK]) - own).square().mean((1, 2, 3)).sqrt()
        for start in range(0, len(drawings), CHUNK)
    ]
    return torch.cat(parts)[None]
