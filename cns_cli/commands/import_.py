"""`cns import FILE NAME`: bring a concept in that another program trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cns_cli import figures
from cns_cli.options import JsonFlag, takes
from cns_cli.output import Line, Output, Styled, facts
from cns_cli.porcelain.options import ImportOptions
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.import_ import ImportResult

EXAMPLES = (
    "cns import rex.safetensors rex --class dog",
    "cns import rex.safetensors rex --dry-run",
    "cns import mona.safetensors mona --kind style --only-kv --weight 0.8",
    "cns import adapter/ rex --class dog --embedding rex-token.safetensors",
    "cns import learned_embeds.safetensors tom --class cat --images photos/tom",
)


@takes(ImportOptions)
def import_(as_json: JsonFlag = False, **given: Any) -> None:
    """Bring a concept in that another program trained, by a commit.

    Reads LoRA, DoRA, LoHa, LoKr, SHiRA and whole changes by kohya, LyCORIS, diffusers and PEFT, and textual inversions.
    What a file changes beside the K/V weights of cross-attention is said with its share, and refused without --only-kv.
    """
    options = ImportOptions(**given, **request_settings())
    from cns_cli.porcelain.import_ import command, import_concept

    out = Output(as_json=as_json)
    with open_progress() as progress:
        result = import_concept(options, progress)
    for warning in result.warnings:
        out.warn(warning)
    out.answer(result.to_json(), import_lines(result))
    if result.commit is None:
        again = "" if options.only_kv or not result.outside else " --only-kv"
        noun = "" if result.class_noun or options.images else " --class NOUN"
        out.hint(f"{command(options)}{noun}{again}", "when that suits you")
        return
    thing = " dog" if result.kind == "style" else ""
    out.hint(f'cns generate "a {result.token} {result.class_noun}{thing}"', "look at it")


def import_lines(result: ImportResult) -> Iterator[Line]:
    """Shape what was brought in, or would be."""
    what = "would be brought in" if result.commit is None else "is brought in"
    kind = figures.a(result.class_noun) if result.class_noun and result.kind == "object" else ""
    kind = "a style of drawing things" if result.kind == "style" else kind
    yield [Styled(result.name, "bold"), f"{f', {kind},' if kind else ''} {what} from {result.file.name}"]
    yield ""
    yield from facts(list(_rows(result)))


def _rows(result: ImportResult) -> Iterator[tuple[str, str]]:
    yield "file", f"{result.dialect}, sha256 {figures.short_id(result.sha256)}"
    if result.scales:
        yield (
            "scale",
            " to ".join(f"{scale:g}" for scale in result.scales)
            + (f", times {result.weight:g}" if result.weight != 1 else ""),
        )
    elif result.weight != 1:
        yield "weight", f"{result.weight:g}"
    yield "changes", f"{result.matrices} K/V matrices of {figures.plural(result.modules, 'module')}"
    if result.outside:
        from cns_cli.porcelain.import_ import by_kind

        yield "outside", f"{sum(result.outside.values()):.1%} of its change: {by_kind(result.outside)}"
    form = f"rank {result.rank}" if result.rank else f"{result.neurons:,} weights, {result.share_kv:.2%} of K/V"
    size = "" if result.bytes_stored is None else f"{figures.byte_size(result.bytes_stored)}, "
    yield "stored", f"{size}{form}"
    yield "rounding", f"{result.rounding_loss:.2g} of the change's length" if result.rounding_loss else "nothing lost"
    vectors = figures.plural(result.vectors, "vector")
    yield "token", f"{result.token}, {vectors}" + ("" if result.own_vectors else " that starts at the class noun")
    judged = f"{result.images}, by which cns check judges it"
    yield "images", judged if result.images else "none: cns check cannot judge looks (--images FOLDER)"
    for name, value in result.drift.items():
        yield f"drift of {name}", f"{figures.drift(value)} since its birth"
    if result.commit is not None:
        yield "commit", f"{figures.short_id(result.commit)} on {result.branch or 'a detached HEAD'}"
