"""From a base model and a set of concepts to weights: the one way in which weights are ever changed.

``Model`` holds a pipeline and the base model's own cross-attention key and value matrices in float32 on the CPU.
Setting a set of concepts writes ``compose_matrix(base, exponent, sum of integers)`` into the live pipeline, from the
base each time: nothing is added to or subtracted from live weights, so the same set gives the same bits whatever came
before.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cns import codec, grid
from cns.denoiser import KV_WEIGHTS, denoiser_of
from cns.errors import GridError
from cns.families import COMPANY
from cns.named import NamedWeights, Reach, last_named
from cns.templates import Kind, is_further_vector, phrase_of
from cns.text import TOKENIZERS, install_tokens, text_encoders, tokenizers

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTokenizer

Weights = dict[str, Tensor]
"""Matrix name (as in the denoiser's state dict) -> weights, shape (O, I), float32, CPU."""


@dataclass(frozen=True)
class ConceptWeights:
    """What a concept adds to a base model; without tokens, what every prompt sees of it (`cns.erasing`).

    Attributes:
        name: The concept's name.
        class_noun: What it is one of.
        rows: Special token -> embedding row, shape (D,), float32, CPU.
        delta: Matrix name -> change on the integer grid.
        kind: An object or a style.
    """

    name: str
    class_noun: str
    rows: Mapping[str, Tensor]
    delta: codec.Delta
    kind: Kind = "object"

    @property
    def rank(self) -> int:
        """Of its change, where it acts along directions (`cns.factors`); 0 where it has a mask."""
        return codec.rank_of(self.delta)

    @property
    def phrase(self) -> str:
        """How a prompt calls it: the token and the class noun, ``<rex> dog``."""
        return phrase_of(tuple(self.rows), self.class_noun)


class Model:
    """A pipeline whose key and value matrices are always base + a set of concepts.

    Attributes:
        pipeline: The live pipeline; only `set_concepts` and training write its weights.
        base: The base model's K/V matrices; never written.
        exponents: Matrix name -> grid exponent, as the base object records it.
    """

    def __init__(self, pipeline: StableDiffusionPipeline, exponents: Mapping[str, int]) -> None:
        self.pipeline = pipeline
        self.base: Weights = {
            name: parameter.detach().to("cpu", torch.float32, copy=True)
            for name, parameter in kv_parameters(pipeline).items()
        }
        self.exponents = dict(exponents)
        self._plain: list[CLIPTokenizer] = []
        self._named: NamedWeights | None = None
        if self.exponents.keys() != self.base.keys():
            raise GridError("the grid names other matrices than this pipeline has", hint="cns status")

    @property
    def kv_size(self) -> int:
        """Number of weights in all key and value matrices."""
        return sum(weight.numel() for weight in self.base.values())

    @property
    def denoiser_size(self) -> int:
        """Number of parameters of the denoiser."""
        return sum(parameter.numel() for parameter in denoiser_of(self.pipeline).parameters())

    def compose(self, concepts: Sequence[ConceptWeights]) -> Weights:
        """Weights of the base plus these concepts; depends on the set, not on its order.

        Raises:
            GridError: A concept was made for other matrices or another grid than this base model's.
        """
        for concept in concepts:
            self._check(concept)
        composed: Weights = {}
        for name, weight in self.base.items():
            parts = [concept.delta[name] for concept in concepts if name in concept.delta]
            exponent = codec.finest(parts, self.exponents[name])
            total = codec.total_steps(parts, (weight.shape[0], weight.shape[1]))
            composed[name] = torch.from_numpy(grid.compose_matrix(weight.numpy(), exponent, total))
        return composed

    def set_concepts(self, concepts: Sequence[ConceptWeights]) -> Weights:
        """Make the live pipeline the base plus these concepts, and return the composed float32 weights."""
        weights = self.compose(concepts)
        self.write(weights)
        self.set_tokens({token: row for concept in concepts for token, row in concept.rows.items()})
        return weights

    def set_named(
        self, concepts: Sequence[ConceptWeights], reach: Reach = last_named, company: float = COMPANY
    ) -> None:
        """Have each prompt see the base and those of these concepts that it names, until other weights are written.

        Args:
            concepts: Their tokens are installed; the live weights become the base's, with what has no token.
            reach: Where in a prompt an object acts; a style acts in the whole prompt.
            company: Share of the change that acts in a prompt of several objects, and in a box.

        Raises:
            GridError: A concept was made for other matrices or another grid than this base model's.
        """
        for concept in concepts:
            self._check(concept)
        always = [concept for concept in concepts if not concept.rows]
        self.write(self.compose(always) if always else self.base)
        self.set_tokens({token: row for concept in concepts for token, row in concept.rows.items()})
        by_name = {concept.name: concept for concept in concepts if concept.rows}
        tokens = {name: tuple(concept.rows) for name, concept in by_name.items()}
        styles = [concept.name for concept in concepts if concept.kind == "style"]

        def weights_of(names: frozenset[str]) -> Weights:
            return self.compose([*always, *(by_name[name] for name in names)])

        self._named = NamedWeights(self.pipeline, tokens, weights_of, reach, styles, company)

    def set_tokens(self, rows: Mapping[str, Tensor]) -> None:
        """Install the tokens of the concepts that the model holds.

        A token of an earlier set stays in the vocabulary, where no prompt names it; but a further vector of a token
        (`<rex>_1`) would still be read into every prompt that names its first one, so the vocabulary is then made anew.
        """
        vocabulary = self.pipeline.tokenizer.get_added_vocab()
        if any(token not in rows and is_further_vector(token, vocabulary) for token in vocabulary):
            self._forget_tokens()
        self.add_tokens(rows)

    def add_tokens(self, rows: Mapping[str, Tensor]) -> None:
        """Install tokens beside those that are there; see `cns.text.install_tokens`."""
        if any(is_further_vector(token, rows) for token in rows):
            self.keep_vocabulary()
        install_tokens(self.pipeline, rows)

    def keep_vocabulary(self) -> None:
        """Keep the vocabulary as it is, the first time; for `renew` that must be before any token is installed."""
        self._plain = self._plain or copy.deepcopy(tokenizers(self.pipeline))

    def renew(self) -> None:
        """Make the live pipeline what it was when it was loaded: the base, without a token in its vocabulary."""
        self.write(self.base)
        self.freeze()
        self._forget_tokens()

    def _forget_tokens(self) -> None:
        for name, plain in zip(TOKENIZERS, self._plain, strict=False):
            setattr(self.pipeline, name, copy.deepcopy(plain))

    def write(self, weights: Weights) -> None:
        """Copy these weights into the live pipeline (cast to its dtype and device), for all prompts alike."""
        if self._named is not None:
            self._named.remove()
            self._named = None
        with torch.no_grad():
            for name, parameter in kv_parameters(self.pipeline).items():
                parameter.copy_(weights[name])

    def freeze(self) -> None:
        """Turn gradients off everywhere and set evaluation mode, as the model was before a training."""
        for part in (denoiser_of(self.pipeline), self.pipeline.vae, *text_encoders(self.pipeline)):
            part.requires_grad_(False)
            part.eval()

    def _check(self, concept: ConceptWeights) -> None:
        for name, sparse in concept.delta.items():
            if name not in self.base or tuple(self.base[name].shape) != sparse.shape:
                raise GridError(
                    f"concept {concept.name!r} changes {name}, which this base model lacks", hint="cns status"
                )
            if self.exponents[name] != sparse.matrix_exponent:
                raise GridError(
                    f"concept {concept.name!r} uses grid 2^{sparse.matrix_exponent} in {name}, "
                    f"this base 2^{self.exponents[name]}",
                    hint="cns status",
                )


def kv_parameters(pipeline: StableDiffusionPipeline) -> dict[str, torch.nn.Parameter]:
    """The matrices that CNS may touch: cross-attention key and value projections, by state-dict name."""
    named = sorted(denoiser_of(pipeline).named_parameters())
    return {name: parameter for name, parameter in named if name.endswith(KV_WEIGHTS)}
