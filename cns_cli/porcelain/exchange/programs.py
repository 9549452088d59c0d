"""What a user of another program needs at once: the weights and the vectors of each token, in folders as it has them.

Beside them how a prompt there calls each concept, and where the files go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cns_cli.porcelain.exchange.formats import FORMATS
from cns_cli.porcelain.exchange.order import ARCHITECTURES, Order, word_of


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program, or several that read the same.

    Attributes:
        name: As people write it.
        place: Where the files go, with `{folder}` and `{stem}`.
        prompt: How a prompt calls a concept, with `{word}` and `{noun}`.
        loading: What a prompt says beside, with `{stem}`, so that the weights act.
        weights: Folder for the weights; None: all is one pipeline.
        vectors: Folder for those of the tokens.
        tells: A file beside the weights, which it reads, holds the phrases.
        preview: It shows a picture that lies beside the weights.
    """

    name: str
    place: str
    prompt: str = "{word} {noun}"
    loading: str = ""
    weights: str | None = None
    vectors: str = "embeddings"
    tells: bool = False
    preview: bool = False


PROGRAMS: Mapping[str, Program] = {
    "comfyui": Program(
        name="ComfyUI",
        place="copy what is in {folder} into ComfyUI's folder; the node Load LoRA takes {stem}",
        prompt="embedding:{word} {noun}",
        weights="models/loras",
        vectors="models/embeddings",
    ),
    "a1111": Program(
        name="A1111 and Forge",
        place="copy what is in {folder} into the web UI's folder",
        loading="<lora:{stem}:1>",
        weights="models/Lora",
        tells=True,
    ),
    "invokeai": Program(
        name="InvokeAI",
        place="in the Model Manager, scan {folder} and add both; choose the LoRA beside the prompt",
        prompt="<{word}> {noun}",
        weights="loras",
        tells=True,
        preview=True,
    ),
    "diffusers": Program(name="diffusers", place="{folder} is a whole pipeline", prompt="<{word}> {noun}"),
    "sdcpp": Program(
        name="stable-diffusion.cpp",
        place="sd-cli --lora-model-dir {folder}/loras --embd-dir {folder}/embeddings",
        loading="<lora:{stem}:1>",
        weights="loras",
    ),
}
"""What is typed -> the program."""


def write(program: Program, order: Order, folder: Path) -> tuple[str, float | None]:
    """Fill a folder with what a program needs.

    The vectors are in fp32 whatever is asked for: stable-diffusion.cpp takes them as they are into a table of fp32.

    Returns:
        The format of the weights, and how far they are off, as of `Format.write`.
    """
    kind = _format(program, order)
    weights, vectors = folder / (program.weights or ""), folder / program.vectors
    weights.mkdir(parents=True, exist_ok=True)
    error = FORMATS[kind].write(order, weights)
    if program.weights and order.tree.concepts:
        vectors.mkdir(parents=True, exist_ok=True)
        FORMATS["embedding"].write(replace(order, dtype="fp32"), vectors)
    if program.tells:
        told = {"activation text": ", ".join(phrases(program, order)), "description": f"cns {order.commit}"}
        (weights / f"{order.stem}.json").write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if program.preview and order.tree.concepts:
        _draw(order, weights / f"{order.stem}.png")
    return kind, error


def _format(program: Program, order: Order) -> str:
    if program.weights is None:
        return "diffusers"
    parts = order.session.parts(order.tree)
    return "lora" if order.rank or all(one.rank for one in parts) else "lycoris"


def phrases(program: Program, order: Order) -> tuple[str, ...]:
    """How a prompt there calls each concept, by name."""
    concepts = order.session.concepts(order.tree).values()
    return tuple(program.prompt.format(word=word_of(tuple(one.rows)), noun=one.class_noun) for one in concepts)


def prompts(program: Program, order: Order) -> tuple[str, ...]:
    """Prompts there that draw each concept."""
    loading = program.loading.format(stem=order.stem)
    return tuple(f"{loading} a {phrase}".strip() for phrase in phrases(program, order))


def doubt(program: Program, order: Order) -> str | None:
    """Why the program may not read it: all but diffusers know the sizes of Stable Diffusion alone."""
    family = order.session.base.family
    if program.weights is None or family.name in ARCHITECTURES:
        return None
    return f"{program.name} can open Stable Diffusion 1, 2 and XL, not this base, {family.name}: diffusers reads it"


def _draw(order: Order, file: Path) -> None:
    """Draw the first concept, so that no picture of the user's goes along."""
    from PIL import Image

    from cns.templates import with_article
    from cns_cli.mark import marked

    order.session.set_tree(order.tree)
    concept = next(iter(order.session.concepts(order.tree).values()))
    Image.fromarray(order.session.base.images([with_article(concept.phrase)], [0])[0]).save(file, pnginfo=marked())
