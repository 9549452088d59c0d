"""A command whose help names what installed packages add to its options, such as `--score` and `--metric`.

Installed packages are looked through only when the help page is shown: that takes as long as `cns log` in all.
"""

from __future__ import annotations

from typing import Any, ClassVar

from cns_cli.quick import QuickCommand


class PluginCommand(QuickCommand):
    """A command with options whose values other packages may add to.

    Attributes:
        options_with_plugins: Those options, as `cns_cli.porcelain.scoring.names.POINTS` names them.
    """

    options_with_plugins: ClassVar[tuple[str, ...]] = ()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        from cns_cli.porcelain.scoring.names import plugin_names

        params: list[Any] = self.params
        for param in params:
            names = plugin_names(str(param.name)) if param.name in self.options_with_plugins else ()
            if names and "Installed:" not in param.help:
                param.help += f" Installed: {', '.join(names)}."
        super().format_help(ctx, formatter)
