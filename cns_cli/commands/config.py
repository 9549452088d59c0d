"""`cns config [KEY] [VALUE]`: list the settings of a registry, look one up, or change one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cns_cli import figures
from cns_cli.optionfield import Argument, Option
from cns_cli.options import JsonFlag
from cns_cli.output import Output, Piece, Styled, table
from cns_cli.settings import request_settings

EXAMPLES = (
    "cns config",
    "cns config user.name Ann",
    "cns config check.max-drop.id 0.03",
    "cns config --unset mlflow.tracking_uri",
    "cns config compose named",
    "cns config dtype bfloat16",
    "cns config preset show",
)


def config(
    key: Annotated[
        str | None,
        Argument(
            "user.name, base.source, mlflow.name, mlflow.tracking_uri, mlflow.required, dtype, check.…, compose, "
            "preset.",
            "KEY",
        ),
    ] = None,
    value: Annotated[str | None, Argument("What to set it to; lists as in TOML: '[\"id\"]'.", "VALUE")] = None,
    unset: Annotated[bool, Option("Remove the key.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the settings in .cns/config.toml, print one, or set one.

    `compose` is part of the model: what prompts see, all concepts or those that they name. To set it is a commit.
    `preset` is chosen for each concept (cns add --preset); here its rows are listed.
    """
    from cns_cli.porcelain.config import change_setting, get_setting, list_settings
    from cns_cli.porcelain.options import Request
    from registry.config import written

    out = Output(as_json=as_json)
    if unset and (key is None or value is not None):
        raise typer.BadParameter("--unset takes a KEY and no VALUE")
    if key == "preset":
        _list_presets(value, unset, out)
        return
    if key is None:
        result = list_settings(Path.cwd())
    elif value is None and not unset:
        result = get_setting(Path.cwd(), key)
    else:
        result = change_setting(Request(**request_settings()), key, value)
    single = list(result.settings) == [key]
    shown = {name: found if isinstance(found, str) else written(found) for name, found in result.settings.items()}
    out.answer(
        result.to_json(),
        [text if single else [Styled(name, "cyan"), f" = {text}"] for name, text in shown.items()],
    )
    for warning in result.warnings:
        out.warn(warning)
    if result.commit is not None:
        out.hint("cns undo", f"take {figures.short_id(result.commit)} back")


def _list_presets(value: str | None, unset: bool, out: Output) -> None:
    """Answer what presets there are; which one is taken is said to `cns add`."""
    from cns_cli.porcelain.config import list_presets

    if unset or value not in (None, "show"):
        raise typer.BadParameter("a preset is chosen for each concept: expected cns add … --preset NAME")
    result = list_presets(Path.cwd())
    rows: list[list[Piece]] = [
        [
            *(Styled(one.name, "cyan"), f"{one.steps:,}", f"{one.warmup:,}"),
            *(f"{one.time:g} x", figures.cosine(one.gain), figures.cosine(one.drop)),
        ]
        for one in result.presets
    ]
    heads = ("preset", "steps", "warm-up", "time", "gain", "drop")
    out.answer(result.to_json(), table(rows, header=heads, right=range(1, len(heads))))
    out.note(f"steps on {result.family}; time, gain and drop of identity as measured on the embedded base")
    out.hint("cns add NAME IMAGES/ --preset fast")
