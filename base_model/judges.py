"""Which noun does a picture show? Two judges that rank all trained nouns, and the concepts' own test.

The identity encoder knows drawings, not words: a noun is as near as the nearest of its drawings by the base's four
artists, and a drawing is the mean direction of its pictures on a few varied backgrounds. The CLIP ranks the sentences
"a(n) {noun} {background}" of all nouns on the background that was asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer

from base_model.clip import image_features, text_features
from base_model.concepts import compose_pictures
from base_model.scenes import Artwork
from base_model.vae import to_images
from base_model.vocabulary import NOUNS, single_caption
from cns.judges.identity import IdentityEncoder

PICTURES_PER_DRAWING = 8
SEED = 31


@torch.no_grad()
def embed(encoder: IdentityEncoder, pictures: NDArray[np.uint8], batch: int = 256) -> Tensor:
    """Unit vectors of uint8 pictures (N, 64, 64, 3): float32 (N, 128)."""
    parts = [encoder(to_images(pictures[start : start + batch])) for start in range(0, len(pictures), batch)]
    return torch.cat(parts)


class NounJudge:
    """Ranks the trained nouns by the identity encoder.

    Args:
        encoder: The identity encoder.
        artworks: The drawings of the trained nouns.
    """

    def __init__(self, encoder: IdentityEncoder, artworks: Sequence[Artwork]) -> None:
        self.encoder = encoder
        rng = np.random.default_rng(SEED)
        self.noun_of_drawing = torch.tensor([NOUNS.index(artwork.noun) for artwork in artworks])
        centres = []
        for artwork in artworks:
            pictures = [picture for _, picture in compose_pictures(artwork.pixels, PICTURES_PER_DRAWING, rng)]
            centres.append(embed(encoder, np.stack([np.asarray(picture) for picture in pictures])).mean(0))
        self.centres = F.normalize(torch.stack(centres), dim=-1)  # (drawings, 128)

    def nearness(self, pictures: NDArray[np.uint8]) -> Tensor:
        """Cosine to the nearest drawing of every noun: float32 (N, nouns)."""
        cosines = embed(self.encoder, pictures) @ self.centres.T
        nearest = torch.full((len(pictures), len(NOUNS)), -1.0)
        nearest.scatter_reduce_(1, self.noun_of_drawing.expand(len(pictures), -1), cosines, "amax")
        return nearest


def clip_nearness(
    clip: CLIPModel, tokenizer: CLIPTokenizer, pictures: NDArray[np.uint8], asked: Sequence[tuple[str, str]]
) -> Tensor:
    """Cosine to the sentence of every trained noun on the asked background: float32 (N, nouns)."""
    features = image_features(clip, pictures)
    rows_of = defaultdict(list)
    for row, (_, phrase) in enumerate(asked):
        rows_of[phrase].append(row)
    scores = torch.empty(len(pictures), len(NOUNS))
    for phrase, rows in rows_of.items():
        sentences = [single_caption(noun, phrase) for noun in NOUNS]
        scores[rows] = features[rows] @ text_features(clip, tokenizer, sentences).T
    return scores


def ranks(nearness: Tensor, asked: Sequence[tuple[str, str]]) -> Tensor:
    """Rank of the asked noun for each picture, 0 is best: int64 (N,)."""
    own = torch.tensor([NOUNS.index(noun) for noun, _ in asked])
    return (nearness > nearness.gather(1, own[:, None])).sum(1)


def top(ranks: Tensor, count: int) -> float:
    """Share of ranks among the best `count`."""
    return (ranks < count).float().mean().item()


def concept_separation(encoder: IdentityEncoder, examples: Path, benchmarks: Path) -> dict[str, dict[str, float]]:
    """For each demo concept: how near its pictures are to each other, and to the nearest other artist's.

    `share` is the share of reference pictures whose mean cosine to the other references is above their mean cosine to
    the pictures of each of the other artists.
    """
    table = {}
    for folder in sorted(path for path in examples.iterdir() if path.is_dir()):
        own = embed(encoder, read_pictures(folder))
        own_cosines = ((own @ own.T).sum(1) - 1) / (len(own) - 1)
        artists = sorted((benchmarks / folder.name).iterdir())
        others = torch.stack([(own @ embed(encoder, read_pictures(artist)).T).mean(1) for artist in artists], dim=1)
        nearest = others.amax(1)
        table[folder.name] = {
            "own": own_cosines.mean().item(),
            "nearest_other": nearest.mean().item(),
            "share": (own_cosines > nearest).float().mean().item(),
        }
    return table


def read_pictures(folder: Path) -> NDArray[np.uint8]:
    """The PNGs of a folder in order of their names: uint8 (N, 64, 64, 3)."""
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))])
