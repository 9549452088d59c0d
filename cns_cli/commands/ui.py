"""`cns ui`: MLflow's own interface on the registry's store, until Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cns_cli import figures
from cns_cli.optionfield import Option
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, facts
from cns_cli.porcelain.options import Request
from cns_cli.settings import request_settings
from cns_cli.signals import number_of

if TYPE_CHECKING:
    from cns_cli.porcelain.ui import UiResult

EXAMPLES = ("cns ui", "cns ui --port 5001 --no-browser")


def ui(
    port: Annotated[int, Option("Port on this machine.", "N", min=1, max=65535)] = 5000,
    browser: Annotated[bool, Option("Open no browser.", flags="--browser/--no-browser")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Show the registry in MLflow's own interface, until Ctrl-C.

    It is for this machine alone. Where commits are recorded on a server, its address is printed instead.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain.ui import interface

    out = Output(as_json=as_json)
    with _until_interrupted(), interface(request, port) as result:
        out.answer(result.to_json(), ui_lines(result))
        sys.stdout.flush()
        if result.report is None:
            out.hint("cns report", "the lineage on one page")
        if result.started:
            out.note("Ctrl-C ends it")
        if browser and sys.stdout.isatty():
            import webbrowser

            webbrowser.open(result.url)


@contextlib.contextmanager
def _until_interrupted() -> Iterator[None]:
    """Within the block a Ctrl-C is the end that was meant, and a terminal that goes away ends it as SIGTERM does."""
    before = signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    try:
        yield
    except KeyboardInterrupt as stop:
        if number_of(stop) != signal.SIGINT:
            raise
    finally:
        signal.signal(signal.SIGHUP, before)


def ui_lines(result: UiResult) -> Iterator[Line]:
    """Shape where to look."""
    rows = [("MLflow", result.url)]
    if result.report is not None:
        rows.append(("report", figures.place(result.report)))
    yield from facts(rows)
