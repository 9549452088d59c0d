"""Commands that start fast: plain texts and numbers are read without Typer's converter.

Typer converts every parameter, the absent ones too, through pydantic, which takes 75 ms to load and set up: half of
what `cns log` may take in all. Here a value that needs no conversion is handed on, and a whole number in range is read
by `int`. Whatever is left, every choice, path and mistake, goes to Typer, which says what is wrong with it.
"""

from __future__ import annotations

from typing import Any

import typer.core

OF_FAMILY = {
    "add": {
        "--steps": "steps", "--lr": "lr", "--budget": "budget", "--score": "score", "--reg": "reg",
        "--reg-strength": "reg_strength", "--anchor": "anchor_strength", "--warmup": "warmup_steps",
        "--resolution": "resolution", "--directions": "directions", "--batch-size": "batch_size",
        "--preview": "preview",
    },
    "generate": {"--steps": "sampler_steps", "--guidance": "guidance"},
    "check": {"--images": "check_images"},
}  # fmt: skip
"""Verb -> option -> the field of `cns.families.Defaults`, or of its family, that it has where it is not typed."""

OPEN = ("--score", "--reg", "--metric")
"""Options whose values other packages may add to, as `cns_cli.porcelain.scoring.names.POINTS` names them."""


class QuickCommand(typer.core.TyperCommand):
    """A command whose plain parameters are read without pydantic, and whose help names what installed packages add."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, each with a quick reader."""
        return quickened(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page; here alone formats and installed packages are looked through, as long as a `log`."""
        params: list[Any] = self.params
        for param in params:
            if param.opts[0] == "--format":
                from cns_cli.porcelain.exchange.formats import FORMATS

                param.help = f"{'; '.join(f'{name}: {row.about}' for name, row in FORMATS.items())}."
            if param.opts[0] in OPEN and "Installed:" not in param.help:
                from cns_cli.porcelain.scoring.names import plugin_names

                names = plugin_names(param.opts[0].removeprefix("--"))
                param.help += f" Installed: {', '.join(names)}." if names else ""
            if (field := OF_FAMILY.get(str(self.name), {}).get(param.opts[0])) and "Else " not in param.help:
                from cns_cli.porcelain.models.defaults import family_defaults

                param.help += f" Else {family_defaults(field)}."
        super().format_help(ctx, formatter)


def quickened(params: Any) -> Any:
    """Give each parameter a `QuickReader`, unless Typer made its converter already."""
    for param in params:
        if getattr(param, "_runtime_param", None) is None:
            param._runtime_param = QuickReader()
    return params


class QuickReader:
    """Stands where Typer keeps a parameter's converter, and makes that one when it is needed."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value as the command wants it.

        Raises:
            typer.BadParameter: Typer refuses the value.
        """
        described = param.type_descriptor
        wanted = described.annotation
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if wanted == list[str] and described.parameter_info.parser is None:
            return list(value)
        if described.parameter_info.parser is None and isinstance(wanted, type):
            if wanted in (str, bool, int, float) and type(value) is wanted:
                return value
            if wanted is int and isinstance(value, str) and _in_range(value, described.parameter_info):
                return int(value)
        from typer._coercion import build_runtime_param

        param._runtime_param = build_runtime_param(described)
        return param._runtime_param.coerce(value, param=param, ctx=ctx)


def _in_range(text: str, info: Any) -> bool:
    """Tell whether a text is a whole number that the parameter takes; a doubtful one is for Typer to refuse."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        return False
    return (info.min is None or info.min <= int(text)) and (info.max is None or int(text) <= info.max)
