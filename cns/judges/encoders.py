"""The judges: image encoders whose cosines say what a picture shows.

Two of them look at every picture. A CLIP knows pictures and text (CLIP-I, CLIP-T, and it labels images for the class
noun); on small pictures its image score is mostly background. An identity encoder knows the single drawing or object
and not its background: the embedded base's own, DINOv2 for Stable Diffusion. A base that ships judges in `clip/` and
`identity/` is judged by those; others by the hub models that their family names.

Judges always compute in float32 and do their own resizing, image by image, so that a score depends neither on the
batch nor on a library's image processor. The module makes features; what is made of them is `metrics.py`'s part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from cns.errors import BaseModelError, MetricError
from cns.files.models import check_part
from cns.finite import require_finite
from cns.judges.files import WEIGHTS_NAME, folder_digest, is_dino, missing
from cns.judges.identity import IdentityEncoder
from cns.judges.preparation import Preparation
from cns.loading import check_names, check_size, fix_end_of_text
from cns.quiet import quiet_libraries
from cns.templates import fill_template

with quiet_libraries():
    from transformers import CLIPModel, CLIPTokenizer

BATCH = 64


class ImageEncoder(ABC):
    """What every judge of pictures is and offers.

    Args:
        model: In float32, on its device.
        preparation: How its pictures are prepared.
        digest: SHA-256 hex over its files: scores of two digests are never compared.
    """

    name: str
    """Short name, as in the protocol of an evaluation."""

    def __init__(self, model: Any, preparation: Preparation, digest: str) -> None:
        self.model = model.requires_grad_(False).eval()
        self.preparation = preparation
        self.digest = digest

    def image_features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed N pictures, shape (N, H, W, 3), uint8, sRGB, as unit rows, shape (N, D), float32.

        Raises:
            NotFiniteError: A feature is NaN or infinite.
        """
        if images.ndim != 4 or images.shape[-1] != 3 or len(images) == 0 or images.dtype != np.uint8:
            raise MetricError(
                f"pictures of shape {images.shape} and type {images.dtype}: expected (N, H, W, 3) of uint8, N >= 1",
                metric="image features",
            )
        device = next(self.model.parameters()).device
        parts = []
        with torch.no_grad():
            for start in range(0, len(images), BATCH):
                pixels = torch.from_numpy(self.preparation.prepare(images[start : start + BATCH]))
                parts.append(self._embedded(pixels.to(device)))
        return _unit_rows(torch.cat(parts), f"{self.name} encoder", "features of images")

    @abstractmethod
    def _embedded(self, pixels: Tensor) -> Tensor:
        """Prepared pictures, shape (B, 3, S, S), to rows of any length, shape (B, D)."""


class ClipEncoder(ImageEncoder):
    """A CLIP as judge of pictures and of pictures against text.

    Args:
        model: In float32, on its device.
        preparation: How its pictures are prepared.
        digest: SHA-256 hex over its files.
        tokenizer: The CLIP's own, which knows no special token of any concept.
    """

    name = "clip"

    def __init__(self, model: CLIPModel, preparation: Preparation, digest: str, tokenizer: CLIPTokenizer) -> None:
        super().__init__(model, preparation, digest)
        self.tokenizer = tokenizer

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device | str = "cpu") -> Self:
        """Load a CLIP from a folder with config, safetensors weights, tokenizer and preprocessor config.

        Raises:
            EncoderMissingError: the folder holds no such model.
        """
        tokenizer = _load(CLIPTokenizer, folder)
        model = _load(CLIPModel, folder, dtype=torch.float32, use_safetensors=True).to(device)
        fix_end_of_text(model, tokenizer)
        return cls(model, Preparation.from_folder(folder), folder_digest(folder), tokenizer)

    def _embedded(self, pixels: Tensor) -> Tensor:
        return self.model.get_image_features(pixel_values=pixels).pooler_output

    def text_features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts as unit rows, shape (N, D), float32; each is cut at the tokenizer's length.

        Texts are taken as they are: no prefix is added, and a concept's special token must have been taken out.
        """
        if not texts:
            raise MetricError("no text to embed: expected at least one", metric="clip-t")
        positions = self.model.config.text_config.max_position_embeddings
        ids = self.tokenizer(
            list(texts), padding="max_length", max_length=positions, truncation=True, return_tensors="pt"
        ).input_ids
        with torch.no_grad():
            parts = [
                self.model.get_text_features(input_ids=part.to(self.model.device)).pooler_output
                for part in ids.split(BATCH)
            ]
        return _unit_rows(torch.cat(parts), "clip encoder", "features of texts")

    def label(
        self, images: NDArray[np.uint8], nouns: Sequence[str], templates: Sequence[str] = ("a {}",)
    ) -> NDArray[np.float32]:
        """How probable each noun is as the label of a set of pictures of one thing.

        The mean over the pictures of softmax(scale * cosine) over the nouns, each noun a mean over templates.

        Args:
            images: Shape (N, H, W, 3), uint8.
            nouns: K different nouns.
            templates: Texts with one `{}`.

        Returns:
            Shape (K,), float32, adds up to 1.
        """
        texts = [fill_template(template, noun) for noun in nouns for template in templates]
        features = self.text_features(texts).reshape(len(nouns), len(templates), -1).mean(1)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        logits = float(self.model.logit_scale.exp()) * self.image_features(images) @ features.T  # (N, K)
        weights = np.exp(logits - logits.max(1, keepdims=True))
        return (weights / weights.sum(1, keepdims=True)).mean(0).astype(np.float32)


class DinoEncoder(ImageEncoder):
    """DINOv2 as judge of identity: the class token after the last norm."""

    name = "identity"

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device | str = "cpu") -> Self:
        """Load a DINOv2 from a folder with config, safetensors weights and preprocessor config.

        Raises:
            EncoderMissingError: the folder holds no such model.
        """
        from transformers import Dinov2Model  # only here: the embedded base has a judge of its own, and never needs it

        model = _load(Dinov2Model, folder, dtype=torch.float32, use_safetensors=True).to(device)
        return cls(model, Preparation.from_folder(folder), folder_digest(folder))

    def _embedded(self, pixels: Tensor) -> Tensor:
        return self.model(pixel_values=pixels).last_hidden_state[:, 0]


class IdentityJudge(ImageEncoder):
    """The embedded base's own identity encoder (`identity.py`), which tells single drawings apart."""

    name = "identity"

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device | str = "cpu") -> Self:
        """Load an identity encoder from its folder.

        Raises:
            EncoderMissingError: the folder holds no such model.
        """
        try:
            model = IdentityEncoder.from_pretrained(folder).to(device)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, BaseModelError) as error:
            raise missing(folder, error) from error
        to_one = Preparation(size=64, crop=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))  # to [-1, 1]
        return cls(model, to_one, folder_digest(folder))

    def _embedded(self, pixels: Tensor) -> Tensor:
        return self.model(pixels)


def load_judge(name: str, folder: Path, device: torch.device | str = "cpu") -> ImageEncoder:
    """Load the judge in a folder as "clip" or as "identity" (a DINOv2, or the embedded base's own encoder).

    Raises:
        EncoderMissingError: the folder holds no such model.
    """
    if name == "clip":
        return ClipEncoder.from_folder(folder, device)
    return (DinoEncoder if is_dino(folder) else IdentityJudge).from_folder(folder, device)


def _load(model_class: Any, folder: Path, **options: Any) -> Any:
    """One explicit class from a local folder; of a model every tensor, by name."""
    is_model = bool(options.get("use_safetensors"))
    try:
        check_part(folder, ".")
        if is_model:
            check_size(model_class, folder, [folder / WEIGHTS_NAME])
        with quiet_libraries():
            found = model_class.from_pretrained(
                folder, local_files_only=True, **options, **({"output_loading_info": True} if is_model else {})
            )
        if is_model:  # a judge may hold more, such as a classifier; what it lacks would be drawn at random
            check_names(folder, {**found[1], "unexpected_keys": ()})
    except Exception as error:
        raise missing(folder, error) from error
    return found[0] if is_model else found


def _unit_rows(features: Tensor, part: str, what: str) -> NDArray[np.float32]:
    rows = torch.nn.functional.normalize(require_finite(features, part, what).float(), dim=-1)
    return rows.cpu().numpy()
