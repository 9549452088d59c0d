"""Where the script `cns` begins: signals first, so that Ctrl-C during the imports that follow shows no traceback."""

from __future__ import annotations

import sys

from cns_cli import signals


def main() -> None:
    """Run the program."""
    signals.install()
    try:
        from cns_cli.main import main as program

        program()
    except KeyboardInterrupt as stop:
        sys.stderr.write("error: interrupted\n")
        sys.exit(128 + (signals.came() or signals.number_of(stop)))
    finally:
        signals.uninstall()
