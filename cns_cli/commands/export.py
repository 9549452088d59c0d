"""`cns export DIR`: write the model of a revision for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cns_cli import figures
from cns_cli.optionfield import Argument, Option
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, Styled, facts
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.answers import ExportResult

MAX_RANK = 1280  # no matrix of Stable Diffusion has more

EXAMPLES = (
    "cns export --format diffusers model/",
    "cns export --at HEAD~1 --dtype fp16 model/",
    "cns export --concept rex --concept tom model/",
    "cns export --concept rex --format lora rex/",
    "cns export --concept rex --for comfyui rex/",
)


def export(
    folder: Annotated[Path, Argument("Where to write; a new or empty folder.", "DIR")],
    kind: Annotated[str, Option("See the help page.", "FORMAT", flags="--format")] = "diffusers",
    at: Annotated[str, Option("Export the model of this revision.", "REV")] = "HEAD",
    concepts: Annotated[
        list[str] | None,
        Option("Write this concept, and none that is not said; may be repeated.", "NAME", "--concept", repeated=True),
    ] = None,
    dtype: Annotated[
        Literal["fp32", "fp16", "bf16"], Option("Number format of the weights; only fp32 keeps every bit.")
    ] = "fp32",
    program: Annotated[
        Literal["comfyui", "a1111", "invokeai", "diffusers", "sdcpp"] | None,
        Option("All that this program needs, in folders as it has them.", flags="--for"),
    ] = None,
    rank: Annotated[
        int | None, Option("Of a lora; else that of its directions, or 32 for a mask.", "N", min=1, max=MAX_RANK)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the model or concepts of a revision for other programs.

    All concepts of the revision are inside; where a prompt sees the concepts that it
    names, those that you say, since other programs have one set of weights for all.
    """
    start = request_settings(config={})["start"]
    from cns_cli.porcelain.export import export as export_model

    out = Output(as_json=as_json)
    with open_progress() as progress:
        result = export_model(at, kind, folder, dtype, start, progress, tuple(concepts or ()), rank, program)
    for warning in result.warnings:
        out.warn(warning)
    out.answer(result.to_json(), export_lines(result))


def export_lines(result: ExportResult) -> Iterator[Line]:
    """Shape what was written and how to open it."""
    yield [Styled(str(result.folder), "bold"), f" holds {figures.short_id(result.commit)} as {result.format}"]
    yield ""
    size = f"{figures.byte_size(result.bytes_written)} in {result.dtype}"
    tokens = [] if result.prompts else [f"{token} ({name})" for name, token in result.tokens.items()]
    labels = ["tokens", *[""] * len(tokens)]
    error = [] if result.error is None else [("change", _told(result.error))]
    prompts = zip(["prompts", *[""] * len(result.prompts)], result.prompts, strict=False)
    yield from facts([("written", size), *error, *zip(labels, tokens, strict=False), *prompts])
    if result.place:
        yield ""
        yield f"  {result.place}"
    if result.load:
        yield ""
        yield from (f"  {line}" for line in result.load)


def _told(error: float) -> str:
    return f"off by {figures.percent(error)} of itself (Frobenius norm)" if error else "exact"
