"""`cns doctor`: is this machine fit for this registry?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from cns_cli import figures
from cns_cli.errors import ExitCode
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, Styled
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.doctor import DoctorResult

EXAMPLES = ("cns doctor", "cns doctor --json")

_STYLES = {"ok": "green", "warn": "yellow", "bad": "red"}


def doctor(as_json: JsonFlag = False) -> None:
    """Examine this machine and registry; nothing is changed.

    Versions, free space, locks, the base model's digests, MLflow's tables, rights, leftovers. Exit code 4 if something
    is bad, 0 if there are only warnings.
    """
    from cns_cli.porcelain.doctor import doctor as evaluate

    wanted = request_settings(config={})
    result = evaluate(wanted["start"], wanted["mlflow_uri"])
    Output(as_json=as_json).answer(result.to_json(), doctor_lines(result))
    if result.bad:
        raise typer.Exit(ExitCode.REGISTRY)


def doctor_lines(result: DoctorResult) -> Iterator[Line]:
    """Shape each sign as a line, with the next command where there is one."""
    for sign in result.signs:
        yield [Styled(f"{sign.level:<4}", _STYLES[sign.level]), f"  {sign.about}: {sign.found}"]
        if sign.fix:
            yield ["      ", Styled(f"-> {sign.fix}", "dim")]
    if result.bad or result.warnings:
        yield f"{result.bad} bad, {figures.plural(result.warnings, 'warning')}"
