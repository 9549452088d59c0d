"""Images of a prompt, by the model of any revision."""

from __future__ import annotations

import re
import time
from io import BytesIO
from pathlib import Path

from PIL import Image

from cns.sampling import Pixels, cut_off, sample
from cns_cli.files import write_output
from cns_cli.porcelain.options import GenerateOptions, GenerateResult
from cns_cli.porcelain.session import Session
from cns_cli.progress import Progress
from cns_cli.signals import Interrupted, number_of
from registry.errors import RegistryError
from registry.repository import Repository


def generate(options: GenerateOptions, progress: Progress) -> GenerateResult:
    """Make `options.n` images and write them.

    Args:
        options: Prompt, seeds, sampler settings, revision, file.
        progress: Told of progress.

    Raises:
        UnknownRevision: `options.at` means no commit.
        RegistryError: The file cannot be written where it was asked for, or as what its name says.
    """
    began = time.monotonic()
    repo = Repository.discover(options.start)
    commit = repo.resolve(options.at)
    paths = output_paths(options)
    _format(paths[0])
    progress.stage("load the model")
    session = Session.open(repo, options.device)
    tree = repo.tree_of(commit)
    session.set_tree(tree)
    seeds = [options.seed + k for k in range(options.n)]
    progress.stage("generate", options.n)
    _make(session, options, seeds, paths, progress)
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


def _make(session: Session, options: GenerateOptions, seeds: list[int], paths: list[Path], progress: Progress) -> None:
    """Make the images and write each batch as soon as it is there.

    Raises:
        Interrupted: A signal came; what was made before it is written.
    """
    defaults, written = session.bench.family.defaults, 0

    def write(done: int, images: Pixels) -> None:
        nonlocal written
        for path, image in zip(paths[done - len(images) : done], images, strict=True):
            write_output(path, _encoded(image, path))
            written += 1
        progress.step(done)

    try:
        sample(
            session.bench.model.pipeline,
            [options.prompt] * options.n,
            seeds,
            steps=options.steps or defaults.sampler_steps,
            guidance=defaults.guidance if options.guidance is None else options.guidance,
            negative=options.negative,
            size=session.bench.resolution,
            on_batch=write,
        )
    except KeyboardInterrupt as stop:
        what = f"{written} of {options.n} images were written"
        raise Interrupted(number_of(stop), what, "run the command again") from None


def _encoded(image: Pixels, path: Path) -> bytes:
    """The bytes of a picture, in the format of its file name."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, format=_format(path))
    return buffer.getvalue()


def _format(path: Path) -> str:
    """Pillow's format for a file name.

    Raises:
        RegistryError: Pillow writes no such format.
    """
    kind = Image.registered_extensions().get(path.suffix.lower(), "")
    if kind not in Image.SAVE:
        raise RegistryError(f"no picture format has names in {path.suffix!r}: expected .png, .jpg or .webp",
                            "cns generate --help")  # fmt: skip
    return kind


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
