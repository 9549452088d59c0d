"""Images of a prompt, by the model of any revision."""

from __future__ import annotations

import re
import time
from pathlib import Path

from PIL import Image

from cns.sampling import cut_off, sample
from cns_cli.porcelain.options import GenerateOptions, GenerateResult
from cns_cli.porcelain.session import Session
from cns_cli.progress import Progress
from registry.errors import RegistryError
from registry.repository import Repository


def generate(options: GenerateOptions, progress: Progress) -> GenerateResult:
    """Make `options.n` images and write them.

    Args:
        options: Prompt, seeds, sampler settings, revision, file.
        progress: Told of progress.

    Raises:
        UnknownRevision: `options.at` means no commit.
        RegistryError: The file cannot be written where it was asked for.
    """
    began = time.monotonic()
    repo = Repository.discover(options.start)
    commit = repo.resolve(options.at)
    paths = output_paths(options)
    progress.stage("load the model")
    session = Session.open(repo, options.device)
    tree = repo.tree_of(commit)
    session.set_tree(tree)
    defaults = session.bench.family.defaults
    progress.stage("generate", options.n)
    pixels = sample(
        session.bench.model.pipeline,
        [options.prompt] * options.n,
        seeds := [options.seed + k for k in range(options.n)],
        steps=options.steps or defaults.sampler_steps,
        guidance=defaults.guidance if options.guidance is None else options.guidance,
        negative=options.negative,
        size=session.bench.resolution,
        on_batch=lambda done: progress.step(done),
    )
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    concepts = session.concepts(tree)
    used = tuple(name for name, concept in concepts.items() if any(token in options.prompt for token in concept.rows))
    return GenerateResult(
        prompt=options.prompt,
        paths=tuple(paths),
        seeds=tuple(seeds),
        commit=commit,
        concepts=used,
        elapsed_s=time.monotonic() - began,
        warnings=(
            *_unknown_tokens(options.prompt, [token for concept in concepts.values() for token in concept.rows]),
            *_too_long(cut_off(session.bench.model.pipeline, options.prompt)),
        ),
    )


def output_paths(options: GenerateOptions) -> list[Path]:
    """Where each image goes: `-o FILE` (numbered when there are several), else a name made from the prompt.

    A file named by `-o` is replaced; a name made from the prompt never overwrites anything.

    Raises:
        RegistryError: The folder of the file does not exist.
    """
    if options.out is not None:
        target = options.out if options.out.suffix else options.out.with_suffix(".png")
        if not target.parent.is_dir():
            raise RegistryError(f"folder '{target.parent}' does not exist", f"mkdir -p {target.parent}")
        if options.n == 1:
            return [target]
        return [target.with_name(f"{target.stem}-{k + 1}{target.suffix}") for k in range(options.n)]
    stem = re.sub(r"[^a-z0-9]+", "-", options.prompt.lower()).strip("-")[:60] or "image"
    candidates = (options.start / f"{stem}-{k}.png" for k in range(1, 1_000_000))
    free = (path for path in candidates if not path.exists())
    return [next(free) for _ in range(options.n)]


def _unknown_tokens(prompt: str, known: list[str]) -> tuple[str, ...]:
    unknown = sorted(set(re.findall(r"<[^<>\s]+>", prompt)) - set(known))
    there = f"this revision has {', '.join(sorted(known))}" if known else "this revision has no concept yet"
    return tuple(f"the prompt names {token}, which is no concept's token: {there}" for token in unknown)


def _too_long(tokens: int) -> tuple[str, ...]:
    return (f"the prompt is too long: its last {tokens} tokens were not read",) if tokens else ()
