"""`cns bisect`: find the commit that broke it, in as few looks as halving needs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from cns_cli import figures
from cns_cli.errors import ExitCode
from cns_cli.metricnames import is_metric
from cns_cli.optionfield import DEVICES, ENGINE, JOBS, Argument, Engine, Option, finite
from cns_cli.options import DeviceOption, JsonFlag, verb, verbs
from cns_cli.output import Line, Output, Styled
from cns_cli.porcelain.metrics import METRIC_NAMES
from cns_cli.porcelain.options import Request, Spread
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings
from cns_cli.signals import explained

if TYPE_CHECKING:
    from cns_cli.porcelain.bisect import Answer, BisectResult
    from registry.bisect_state import Watch

KEPT = "the answers so far are kept"
METRIC_ALIASES = {"identity": "id"}


class ListCommand(typer.core.TyperCommand):
    """A command whose list of words reads like one word in its help: `REV <str>`."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters."""
        params: Any = super().get_params(ctx)
        for param in params:
            if param.nargs == -1:
                param.display_type_rich = lambda **_: "<str>"
        return params


app = verbs("Find the commit that broke a concept, by halving.")

Revs = Annotated[list[str] | None, Argument("Commits; the one HEAD is at when absent.", "REV")]


@verb(
    app,
    "cns bisect start HEAD v1",
    "cns bisect start --metric rex.clip_i --below 0.70",
    "cns bisect start HEAD v1 --metric rex.id.drop --above 0.03",
    cls=ListCommand,
)
def start(
    revs: Annotated[list[str] | None, Argument("A bad commit, then good ones.", "REV")] = None,
    metric: Annotated[
        str | None, Option("Score that tells good from bad: rex.clip_i.", "CONCEPT.METRIC[.drop]")
    ] = None,
    below: Annotated[float | None, Option("Bad where the score is below X.", "X", check=finite)] = None,
    above: Annotated[float | None, Option("Bad where the score is above X.", "X", check=finite)] = None,
    as_json: JsonFlag = False,
) -> None:
    """Begin a bisection.

    HEAD goes, detached, to the commit to look at; cns bisect reset puts it back. With --metric, bad is HEAD and good
    the commit that brought the concept in, unless they are given; cns bisect run then needs no program.
    """
    watch = _watch(metric, below, above)
    from cns_cli.porcelain import bisect as porcelain

    _answer(porcelain.start(Request(**request_settings()), revs or (), watch), as_json)


@verb(app, "cns bisect good", "cns bisect good v1", cls=ListCommand)
def good(revs: Revs = None, as_json: JsonFlag = False) -> None:
    """Say that a commit is good, and go on to the next."""
    _mark("good", revs, as_json)


@verb(app, "cns bisect bad", "cns bisect bad HEAD~2")
def bad(
    rev: Annotated[str | None, Argument("Commit; the one HEAD is at when absent.", "REV")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say that a commit is bad, and go on to the next."""
    _mark("bad", [rev] if rev else None, as_json)


@verb(app, "cns bisect skip", "cns bisect skip HEAD~1", cls=ListCommand)
def skip(revs: Revs = None, as_json: JsonFlag = False) -> None:
    """Say that a commit cannot be judged, and go on to another."""
    _mark("skip", revs, as_json)


@verb(
    app,
    "cns bisect run cns check --bisect --concept rex",
    "cns bisect run ./looks-right.sh",
    "cns bisect run --jobs 3",
    cls=ListCommand,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def run(
    command: Annotated[
        list[str] | None, Argument("What answers, with its arguments; absent: --metric of start.", "PROGRAM")
    ] = None,
    device: DeviceOption = "auto",
    jobs: Annotated[int, JOBS] = 1,
    devices: Annotated[Any, DEVICES] = None,
    engine: Annotated[Engine, ENGINE] = "processes",
    as_json: JsonFlag = False,
) -> None:
    """Let a program answer: 0 good, 125 skip, 1 to 127 bad, more ends it.

    Options of this command stand before PROGRAM. What the program prints goes to stderr. Without a program, several
    processes compute the scores that may be asked for next; the answers stay the same.
    """
    spread = Spread(device=device, jobs=jobs, devices=devices, engine=engine)
    if command and spread != Spread():
        raise typer.BadParameter(
            "--device goes with --metric of start, and so do --jobs, --devices and --engine; a program chooses itself"
        )
    request, out = Request(**request_settings()), Output(as_json=as_json)
    if command:
        from cns_cli.porcelain.bisect_run import run_program

        with explained(KEPT, f"cns bisect run {shlex.join(command)}"):
            found = run_program(request, command, out.note)
        return _answer(found, as_json)
    from cns_cli.porcelain.bisect_run import run_measured

    with open_progress() as progress, explained(KEPT, "cns bisect run"):
        result = run_measured(request, progress.note, progress, spread)
    return _answer(result, as_json)


@verb(app, "cns bisect reset", "cns bisect reset main")
def reset(
    rev: Annotated[str | None, Argument("Where HEAD goes; where it was at the start when absent.", "REV")] = None,
    as_json: JsonFlag = False,
) -> None:
    """End the bisection and put HEAD back."""
    from cns_cli.porcelain import bisect as porcelain

    result = porcelain.reset(Request(**request_settings()), rev)
    where = f"branch {result.branch}" if result.branch else f"{figures.short_id(result.commit)}, detached"
    said = "the bisection is over" if result.was_running else "no bisection was running"
    out = Output(as_json=as_json)
    out.answer(result.to_json(), [f"{said}: HEAD is on {where}"])
    if result.left_behind:
        lost = figures.plural(len(result.left_behind), "commit")
        out.hint(f"cns branch NAME {figures.short_id(result.left_behind[0])}", f"to keep {lost} made meanwhile")
    if rev is not None and not result.was_running:
        out.hint(f"cns checkout {rev}", "HEAD did not move")


@verb(app, "cns bisect log")
def log(as_json: JsonFlag = False) -> None:
    """Print what was answered, as commands that repeat it."""
    from cns_cli.porcelain import bisect as porcelain

    lines = porcelain.log(Request(**request_settings()))
    Output(as_json=as_json).answer(list(lines), lines)


def result_lines(result: BisectResult) -> Iterator[Line]:
    """Shape where a bisection is: what is missing, what to look at, or what was found."""
    if result.commit is None:
        yield f"waiting for a {' and a '.join(result.missing)} commit"
        return
    commit: Line = [Styled(figures.short_id(result.commit.id), "yellow"), f" {result.commit.subject}"]
    if result.status == "testing":
        left = figures.plural(result.left, "commit")
        yield f"{left} left after this one, about {figures.plural(result.rounds, 'more answer')}"
        if result.merge_base:
            yield "This is where the good and the bad commit parted: is it good?"
        yield ["HEAD is now detached at ", *commit]
    elif result.status == "found":
        yield ["first bad commit: ", *commit]
        yield from _found_lines(result)
    else:
        yield "Only skipped commits are left. The first bad one is among:"
        yield from (f"  {one}" for one in result.candidates)


def _found_lines(result: BisectResult) -> Iterator[Line]:
    commit = result.commit
    assert commit is not None
    yield f"kind    {commit.kind}"
    changes = (("added", result.added), ("removed", result.removed), ("replaced", result.replaced))
    yield from (f"concept {', '.join(names)} ({what})" for what, names in changes if names)
    yield f"author  {commit.author}"
    yield f"date    {figures.moment(commit.time)}"
    if result.watch is not None and commit.id in result.values:
        yield f"score   {result.watch.name} {result.values[commit.id]:.4f}"


def _mark(answer: Answer, revs: list[str] | None, as_json: bool) -> None:
    from cns_cli.porcelain import bisect as porcelain

    _answer(porcelain.mark(Request(**request_settings()), answer, revs or ()), as_json)


def _answer(result: BisectResult, as_json: bool) -> None:
    """Print where the bisection is, and what to type next. Undecided exits like an inconclusive check."""
    out = Output(as_json=as_json)
    out.answer(result.to_json(), result_lines(result))
    if result.status == "waiting":
        out.hint(f"cns bisect {result.missing[0]} REV")
    elif result.status == "testing":
        out.hint("cns bisect run" if result.watch else "cns bisect good", "or bad, or skip" * (result.watch is None))
    else:
        if result.commit is not None and result.status == "found":
            out.hint(f"cns show {figures.short_id(result.commit.id)}", "what it did")
        out.hint("cns bisect reset", f"back to {_place(result.began_at)}")
        for name in result.removable:
            out.hint(f"cns rm {name}", "after the reset: a model without it")
    if result.status == "undecided":
        raise typer.Exit(ExitCode.FORGOT)


def _place(where: str) -> str:
    return figures.short_id(where) if len(where) == 64 else where


def _watch(metric: str | None, below: float | None, above: float | None) -> Watch | None:
    """Parse `rex.clip_i`, `rex.id.drop` and their limit.

    Raises:
        typer.BadParameter: one of the three does not fit the others.
    """
    if metric is None:
        if below is not None or above is not None:
            raise typer.BadParameter("--below and --above go with --metric")
        return None
    if (below is None) == (above is None):
        raise typer.BadParameter("--metric needs --below X or --above X, and one of them only")
    from registry.bisect_state import Watch

    drop = metric.endswith(".drop")
    concept, _, name = metric.removesuffix(".drop").rpartition(".")
    name = METRIC_ALIASES.get(name, name.replace("_", "-"))
    if not concept or not is_metric(name):
        raise typer.BadParameter(f"{metric!r} is not CONCEPT.METRIC with one of {', '.join(METRIC_NAMES)}")
    return Watch(concept, name, drop, below, above)
