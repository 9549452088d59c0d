"""`cns add NAME IMAGES/`: teach the model a concept and commit it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cns_cli import figures
from cns_cli.commands.check import check_lines
from cns_cli.options import DeviceOption, JsonFlag, SeedOption, finite, positive, share
from cns_cli.output import Line, Output, Styled, facts, table
from cns_cli.plugincommand import PluginCommand
from cns_cli.porcelain.options import AddOptions, ConceptKind
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.answers import AddResult, DryRun

EXAMPLES = (
    "cns add rex photos/rex",
    "cns add rex photos/rex --class dog --steps 400",
    "cns add rex photos/rex --dry-run",
    "cns add rex photos/more-of-rex --replace",
    "cns add --resume",
)


class Command(PluginCommand):
    """`cns add`, whose help names the scores and regularizers of installed packages."""

    options_with_plugins = ("score", "reg")


def add(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="What to call it; the special token becomes <NAME>.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Argument(
            metavar="IMAGES/", help="Folder of images, with captions if you have them.", exists=True, file_okay=False
        ),
    ] = None,
    class_noun: Annotated[
        str | None,
        typer.Option("--class", metavar="NOUN", help="What kind of thing it is, e.g. dog. Inferred when not given."),
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", metavar="TOKEN", help="Special token to use in prompts instead of <NAME>.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", min=1, help="Finetuning steps.")] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", metavar="RATE", callback=positive, help="Learning rate of the K/V weights.")
    ] = None,
    score: Annotated[
        str | None, typer.Option("--score", metavar="SCORE", help="How neurons are chosen: gradient, wanda or fisher.")
    ] = None,
    reg: Annotated[
        str | None,
        typer.Option(
            "--reg",
            metavar="REG",
            help="What protects older concepts: features, weights, project, project-hard, features-parent or none.",
        ),
    ] = None,
    reg_strength: Annotated[
        float | None,
        typer.Option("--reg-strength", metavar="X", min=0, callback=finite, help="Weight of that protection."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", metavar="SHARE", parser=share, help="Share of the K/V weights to change, e.g. 5.8%."),
    ] = None,
    anchor: Annotated[
        float | None,
        typer.Option("--anchor", metavar="X", min=0, callback=finite, help="Weight of the pull toward the base."),
    ] = None,
    past_vote: Annotated[
        float | None,
        typer.Option(
            "--past-vote", metavar="SHARE", parser=share, help="Leave out weights that this share of concepts hold."
        ),
    ] = None,
    vectors: Annotated[
        int,
        typer.Option("--vectors", metavar="N", min=1, max=16, help="Embedding rows of the token.", show_default=True),
    ] = 1,
    init: Annotated[
        str | None, typer.Option("--init", metavar="WORDS", help="Where the token starts instead of the class noun.")
    ] = None,
    warmup: Annotated[
        int | None, typer.Option("--warmup", metavar="N", min=0, help="Steps that train the token alone, before.")
    ] = None,
    norm_guard: Annotated[
        bool, typer.Option("--norm-guard", help="Keep the token's rows as long as the vocabulary's.")
    ] = False,
    kind: Annotated[
        ConceptKind,
        typer.Option("--kind", help='An object ("a <rex> dog") or a style ("a <mona> style dog").', show_default=True),
    ] = "object",
    prior: Annotated[
        int,
        typer.Option("--prior", metavar="N", min=0, max=1000, help="Also train on N images of the class noun."),
    ] = 0,
    seed: SeedOption = 0,
    resolution: Annotated[
        int | None, typer.Option("--resolution", metavar="PX", min=8, max=4096, help="Side of the training images.")
    ] = None,
    device: DeviceOption = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take (time, memory, disk); write nothing.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Teach a name anew that is already taken.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Afterwards compare images of every older concept.")] = False,
    keep_images: Annotated[
        bool,
        typer.Option(
            "--keep-images/--no-keep-images",
            help="Store the training images in the registry, or only features of them.",
            show_default=True,
        ),
    ] = True,
    message: Annotated[str | None, typer.Option("--message", "-m", metavar="TEXT", help="Commit message.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted training; all else is as it was.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Teach the model a concept from a folder of images.

    What it learned becomes a commit. Options that are not given take the defaults of the base model's family. Without a
    registry here, one is made on the embedded base model. After an interruption, --resume goes on from the last saved
    step and ends in the same concept, on a CPU bit for bit.
    """
    _check_words(context, name, images, resume=resume, dry_run=dry_run)
    options = AddOptions(
        name=name or "", images=images or Path(), class_noun=class_noun, token=token, steps=steps, lr=lr, score=score,
        reg=reg, reg_strength=reg_strength, budget=budget, anchor=anchor, past_vote=past_vote, vectors=vectors,
        init=init, warmup=warmup, norm_guard=norm_guard, kind=kind, prior=prior, seed=seed, resolution=resolution,
        device=device, dry_run=dry_run, replace=replace, check=check, keep_images=keep_images, message=message,
        resume=resume, typed=_typed(context), **request_settings(),
    )  # fmt: skip
    from cns_cli.porcelain.add import add_concept
    from cns_cli.porcelain.answers import DryRun

    out = Output(as_json=as_json)
    with open_progress() as progress:
        result = add_concept(options, progress)
    for warning in result.warnings:
        out.warn(warning)
    if isinstance(result, DryRun):
        out.answer(result.to_json(), dry_run_lines(result))
        from cns_cli.porcelain.learning.interrupted import command_of

        out.hint(command_of(options), "when that suits you")
    else:
        out.answer(result.to_json(), add_lines(result))
        _advise(out, result)


def _typed(context: typer.Context) -> frozenset[str]:
    """Names of the parameters that stand on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")


def _check_words(context: typer.Context, name: str | None, images: Path | None, *, resume: bool, dry_run: bool) -> None:
    """Refuse what is missing: only --resume knows the name and the images by itself."""
    if resume and dry_run:
        raise typer.BadParameter("--dry-run trains nothing, so that --resume has no meaning there", ctx=context)
    if not resume and (name is None or images is None):
        missing = "IMAGES/" if name is not None else "NAME"
        raise typer.BadParameter(f"missing argument {missing}; expected cns add NAME IMAGES/", ctx=context)


def add_lines(result: AddResult) -> Iterator[Line]:
    """Shape the summary of what was learned, for people."""
    inferred = result.class_confidence
    how = "" if inferred is None else f" (inferred, {inferred:.0%} sure)"
    what = figures.a(result.class_noun) if result.kind == "object" else "a style of drawing things"
    yield [Styled(result.name, "bold"), f" is {what}{how}"]
    yield ""
    rows = [
        ("prompt", f"a {_phrase(result)}"),
        ("commit", _commit(result)),
        ("neurons", _neurons(result)),
        *_fullness(result),
        ("stored", _stored(result)),
        ("photos", _photos(result)),
        *_gains(result),
    ]
    yield from facts(rows + ([("preview", figures.place(result.preview))] if result.preview else []))
    if result.drift:
        yield ""
        yield "Drift of the older concepts' K/V outputs (relative, squared; 0 is untouched)"
        yield from table([["", name, figures.drift(value)] for name, value in result.drift.items()], right=[2])
    if result.images_check is not None:
        yield ""
        yield from check_lines(result.images_check)


def dry_run_lines(result: DryRun) -> Iterator[Line]:
    """Shape what it would take."""
    yield [Styled(result.name, "bold"), f" from {figures.plural(result.images, 'image')} would take about"]
    yield ""
    rows = [
        ("time", f"{figures.duration(result.seconds)} on {result.device}, {result.steps:,} steps"),
        ("memory", figures.byte_size(result.memory_bytes)),
        ("disk", figures.byte_size(result.disk_bytes)),
    ]
    if result.class_nouns:
        rows.append(("class noun", ", ".join(f"{noun} ({chance:.0%})" for noun, chance in result.class_nouns)))
    yield from facts(rows)
    yield ""
    yield "Nothing was written."


def _commit(result: AddResult) -> str:
    return f"{figures.short_id(result.commit)} on {result.branch or 'a detached HEAD'}"


def _neurons(result: AddResult) -> str:
    shares = f"{figures.percent(result.share_kv)} of K/V, {figures.percent(result.share_denoiser)} of the denoiser"
    return f"{result.neurons:,} weights: {shares}"


def _phrase(result: AddResult) -> str:
    """What a prompt may say; a style needs something to be drawn."""
    return f"{result.token} {result.class_noun}" + (" house" if result.kind == "style" else "")


def _fullness(result: AddResult) -> list[tuple[str, str]]:
    """How much of the model is taken, and what a projection left of the update."""
    rows = []
    if result.capacity:
        rows.append(("K/V weights", figures.capacity(result.capacity)))
        if result.drift:
            rows.append(("shared", f"{figures.percent(result.capacity['reused'])} of its weights with older concepts"))
    if result.energy_left is not None:
        rows.append(("energy left", f"{figures.percent(result.energy_left)} of each step, by the projection"))
    return rows


def _stored(result: AddResult) -> str:
    return f"{figures.byte_size(result.bytes_stored)}, {result.bits_per_weight:.1f} bits a changed weight"


def _photos(result: AddResult) -> str:
    images, where = figures.plural(result.images, "training image"), figures.place(result.registry)
    return f"{images} stored in {where}" if result.photos_kept else f"only features of {images} stored in {where}"


def _gains(result: AddResult) -> list[tuple[str, str]]:
    rows = []
    if result.identity_after is not None:
        ceiling = result.identity_ceiling
        of = "" if ceiling is None else f"   (the images among themselves {figures.cosine(ceiling)})"
        rows.append(("identity", _rise(result.identity_before, result.identity_after) + of))
    if result.clip_i_after is not None:
        rows.append(("CLIP-I", _rise(result.clip_i_before, result.clip_i_after)))
    if result.clip_t_after is not None:
        rows.append(("CLIP-T", figures.cosine(result.clip_t_after)))
    return rows


def _rise(before: float | None, after: float | None) -> str:
    return f"{figures.cosine(before)} -> {figures.cosine(after)}"


def _advise(out: Output, result: AddResult) -> None:
    """Say how long it took and what to type next."""
    out.note(f"took {figures.duration(result.elapsed_s)}")
    if not result.learned:
        out.warn(f"{result.name} was hardly learned: its gain is under three standard errors")
        out.hint(result.longer, "more steps, or more and clearer images")
    forgotten = [row.concept for row in result.images_check or () if row.verdict == "forgot"]
    if forgotten:
        out.warn(f"forgotten, compared with the own baseline: {', '.join(forgotten)}")
        out.hint(f"cns rm {result.name}", "a model without what was learned now")
    out.hint(f'cns generate "a {_phrase(result)} in the snow"')
    if result.drift and result.images_check is None:
        out.hint("cns check", "compare images of every concept with its baseline")
