"""`cns init`: make a registry in the current folder."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cns_cli import figures
from cns_cli.optionfield import Option
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, Styled, facts
from cns_cli.porcelain.options import DEFAULT_COMPOSE, Composed
from cns_cli.quick import QuickCommand
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.answers import InitResult

EXAMPLES = (
    "cns init",
    "cns init --base ./stable-diffusion-v1-5",
    "cns init --base dreamshaper_8.safetensors",
    "cns init --base stable-diffusion-v1-5/stable-diffusion-v1-5",
)


class Command(QuickCommand):
    """`cns init FOLDER` is answered with what makes a registry there."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line."""
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            if found := re.search(r"extra argument.* \((.+)\)$", error.format_message()):
                there = shlex.join(["cns", "-C", found[1], "init", *(word for word in typed if word != found[1])])
                error.hint = f"mkdir -p {shlex.quote(found[1])} && {there}"  # type: ignore[attr-defined]
            raise


def init(
    base: Annotated[str, Option("emoji-64 (embedded), a folder, a file, or a hub id.", "BASE")] = "emoji-64",
    compose: Annotated[Composed, Option("What prompts see: all concepts, or those that they name.")] = DEFAULT_COMPOSE,
    as_json: JsonFlag = False,
) -> None:
    """Make a registry (.cns) in this folder, for one base model.

    `cns add` does this by itself on the embedded base; init is for other bases.
    """
    wanted = request_settings(config={})
    from cns_cli.porcelain.init import init_registry

    out = Output(as_json=as_json)
    result = init_registry(wanted["start"], base, author=wanted["author"], time=wanted["time"], compose=compose)
    if result.above is not None:
        out.warn(f"here and below, this registry is seen in the place of the one in {figures.place(result.above)}")
    for warning in result.warnings:
        out.warn(warning)
    out.answer(result.to_json(), init_lines(result))
    out.hint("cns add NAME IMAGES/", "teach it something")


def init_lines(result: InitResult) -> Iterator[Line]:
    """Shape what was made."""
    yield ["a registry was made in ", Styled(figures.place(result.folder / ".cns"), "bold")]
    yield ""
    size = f"{result.denoiser_parameters / 1e6:,.1f} M parameters in the denoiser"
    yield from facts(
        [
            ("base", f"{result.base_source}, family {result.family}, {size}"),
            ("base id", figures.short_id(result.base)),
            ("prompts see", figures.COMPOSED[result.compose]),
            ("commit", f"{figures.short_id(result.commit)} on {result.branch}, no concept yet"),
        ]
    )
