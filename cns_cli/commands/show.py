"""`cns show [REV]`: one commit, with every figure that was recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cns_cli import figures
from cns_cli.commands.log import header_lines, message_lines
from cns_cli.commands.show_neurons import neurons_lines
from cns_cli.commands.show_picture import picture_lines
from cns_cli.commands.show_provenance import provenance_lines
from cns_cli.commands.status import concept_lines, erased_lines
from cns_cli.optionfield import Argument, Option, file_to_write
from cns_cli.options import JsonFlag, NoPagerFlag
from cns_cli.output import Line, Output, Piece, Styled, table

if TYPE_CHECKING:
    from cns_cli.porcelain.show import CurveResult, ShowResult

EXAMPLES = (
    "cns show",
    "cns show rex",
    "cns show HEAD~1 --json",
    "cns show rex --preview rex.png",
    "cns show dog.png",
    "cns show --neurons rex -o rex.png",
    "cns show --provenance rex",
    "cns show rex --curve",
)

_METRICS = {
    "neurons": ("neurons", lambda value: f"{value:,.0f} changed weights"),
    "rank": ("directions", lambda value: f"{value:.0f}, the rank of the change of each matrix"),
    "share_kv": ("share of K/V", figures.percent),
    "share_denoiser": ("of the denoiser", figures.percent),
    "bytes": ("stored", figures.byte_size),
    "bits_per_weight": ("bits a weight", lambda value: f"{value:.1f}"),
    "general_share": ("general neurons", lambda value: f"{figures.percent(value)} of K/V"),
    "general_overlap": ("base neurons", lambda value: f"{figures.percent(value)} of them general"),
    "capacity_held": ("held by concepts", lambda value: f"{figures.percent(value)} of K/V"),
    "capacity_free": ("free", lambda value: f"{figures.percent(value)} of K/V"),
    "reused": ("shared", lambda value: f"{figures.percent(value)} of its weights with older concepts"),
    "energy_left": ("energy left", lambda value: f"{figures.percent(value)} of each step, by the projection"),
    "identity_before": ("identity before", figures.cosine),
    "identity_after": ("identity after", figures.cosine),
    "identity_ceiling": ("identity ceiling", figures.cosine),
    "identity_alone": ("identity, no background", figures.cosine),
    "clip_i_before": ("CLIP-I before", figures.cosine),
    "clip_i_after": ("CLIP-I after", figures.cosine),
    "clip_i_ceiling": ("CLIP-I ceiling", figures.cosine),
    "clip_t_before": ("CLIP-T before", figures.cosine),
    "clip_t_after": ("CLIP-T after", figures.cosine),
    "share_before": ("drawn before", figures.percent),
    "share_after": ("drawn after", figures.percent),
}


def show(
    rev: Annotated[str, Argument("Commit, branch, tag, concept, HEAD~2, ...; or a generated picture.", "REV")] = "HEAD",
    preview: Annotated[
        Path | None, Option("Write the recorded contact sheet here.", "FILE", check=file_to_write)
    ] = None,
    neurons: Annotated[bool, Option("Where the concept's neurons sit, and who shares them.")] = False,
    provenance: Annotated[bool, Option("Every choice behind the concept, and whose it is.")] = False,
    curve: Annotated[bool, Option("The losses of its training, as a curve.")] = False,
    picture: Annotated[
        Path | None, Option("With --neurons: draw them here, a PNG.", "FILE", flags="-o --out", check=file_to_write)
    ] = None,
    as_json: JsonFlag = False,
    no_pager: NoPagerFlag = False,
) -> None:
    """Show one commit: its changes, figures, settings and concepts.

    A concept's name means the commit that brought it in. Of a picture that cns
    generate made: how, and the command that makes it again.
    """
    out = Output(as_json=as_json, paged=not no_pager)
    _check(neurons, provenance, curve, picture, preview)
    if neurons:
        _show_neurons(rev, picture, out)
    elif provenance:
        _show_provenance(rev, out)
    elif curve:
        _show_curve(rev, out)
    elif not (Path(rev).suffix and Path(rev).is_file() and _show_picture(rev, preview, out)):
        _show_commit(rev, preview, out)


def _check(neurons: bool, provenance: bool, curve: bool, picture: Path | None, preview: Path | None) -> None:
    """Refuse options that do not go together.

    Raises:
        typer.BadParameter: they do not.
    """
    if sum((neurons, provenance, curve, preview is not None)) > 1:
        raise typer.BadParameter("--neurons, --provenance, --curve and --preview are four questions; expected one")
    if picture is not None and not (neurons and picture.suffix.lower() == ".png"):
        raise typer.BadParameter(f"-o {picture} goes with --neurons, and its name ends in .png")


def _show_commit(rev: str, preview: Path | None, out: Output) -> None:
    """Answer for a commit."""
    from cns_cli.files import write_output
    from cns_cli.porcelain import show as porcelain

    result = porcelain.show(Path.cwd(), rev)
    if preview is not None:
        write_output(preview, porcelain.preview(Path.cwd(), rev))
        out.note(f"wrote {preview}")
    out.answer(result.to_json(), show_lines(result))


def _show_picture(name: str, preview: Path | None, out: Output) -> bool:
    """Answer for a generated picture; False where a file is none.

    Raises:
        typer.BadParameter: its preview was asked for.
    """
    from cns_cli.porcelain.pictures.files import is_picture, show_picture

    if not is_picture(name):
        return False
    if preview is not None:
        raise typer.BadParameter(f"--preview goes with a commit; {name} is a picture itself")
    result = show_picture(Path(name), Path.cwd())
    out.answer(result.to_json(), picture_lines(result))
    if result.commit_here is False:
        out.warn("the registry here has no such commit: the command works where it has")
    return True


def _show_neurons(rev: str, picture: Path | None, out: Output) -> None:
    """Answer where a concept's neurons sit."""
    from cns_cli.porcelain.views.neurons import show_neurons

    result = show_neurons(Path.cwd(), rev)
    if picture is not None:
        from cns_cli.files import write_output
        from cns_cli.porcelain.views.neurons_picture import neurons_picture

        write_output(picture, neurons_picture(result))
        out.note(f"wrote {picture}")
    out.answer(result.to_json(), neurons_lines(result))


def _show_provenance(rev: str, out: Output) -> None:
    """Answer whose choices are behind a concept."""
    from cns_cli.porcelain.views.provenance import show_provenance

    result = show_provenance(Path.cwd(), rev)
    out.answer(result.to_json(), provenance_lines(result))


def _show_curve(rev: str, out: Output) -> None:
    """Answer how the losses of a training fell."""
    from cns_cli.curve import curve_lines
    from cns_cli.porcelain import show as porcelain

    result = porcelain.show(Path.cwd(), rev).losses
    out.answer(result.to_json(), curve_lines(result.series, result.series_steps))
    if not result.series:
        out.warn(f"{figures.short_id(result.commit)} trained nothing: no loss was recorded")


def show_lines(result: ShowResult) -> Iterator[Line]:
    """Shape a commit in blocks: header, message, changes, figures, settings, losses, concepts."""
    yield from header_lines(result.commit)
    yield from message_lines(result.commit)
    yield from _changes(result)
    yield from _block("figures", _metric_rows(result.commit.metrics))
    yield from _block("K/V drift of older concepts", [[name, figures.drift(v)] for name, v in result.drift.items()])
    yield from _block("neurons shared with", [[name, _overlap(value)] for name, value in result.overlap.items()])
    yield from _block("losses", _series_rows(result.losses))
    yield from _block("settings", _setting_rows(result.record))
    yield from _block("versions", _version_rows(result.record.get("versions")))
    yield ""
    yield from erased_lines(result.commit.erased)
    yield from concept_lines(result.concepts)


def _changes(result: ShowResult) -> Iterator[Line]:
    changes = [("added", result.added), ("removed", result.removed), ("replaced", result.replaced)]
    rows: list[list[Piece]] = [[Styled(word, "dim"), ", ".join(names)] for word, names in changes if names]
    yield from _block("", rows)


def _metric_rows(metrics: Mapping[str, float]) -> list[list[Piece]]:
    """Shape the known figures in their order, then whatever else was recorded."""
    rows: list[list[Piece]] = [
        [label, write(metrics[key])] for key, (label, write) in _METRICS.items() if key in metrics
    ]
    return rows + [[key, figures.number(value)] for key, value in metrics.items() if key not in _METRICS]


def _overlap(value: float) -> str:
    return figures.percent(value) if value <= 1 else f"{value:,.0f}"


def _series_rows(losses: CurveResult) -> list[list[Piece]]:
    """Shape each recorded series as its first and last value, and over how many steps it goes."""
    rows: list[list[Piece]] = []
    for name, values in losses.series.items():
        span = f"{figures.number(values[0])} -> {figures.number(values[-1])}"
        last = losses.series_steps.get(name, [len(values)])[-1]
        rows.append([str(name), span, f"over {figures.plural(last, 'step')}"])
    return rows


def _setting_rows(record: Mapping[str, Any]) -> list[list[Piece]]:
    params = record.get("params")
    settings = dict(params) if isinstance(params, Mapping) else {}
    settings |= {key: record[key] for key in ("seed", "device", "dtype") if key in record}
    if isinstance(record.get("elapsed_s"), (int, float)):
        settings["took"] = figures.duration(record["elapsed_s"])
    return [[str(key), _setting(value)] for key, value in settings.items()]


def _version_rows(versions: Any) -> list[list[Piece]]:
    return [[str(name), str(version)] for name, version in versions.items()] if isinstance(versions, Mapping) else []


def _setting(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return figures.number(value)
    text = str(value)
    return figures.short_id(text) + "…" if len(text) == 64 and text.isalnum() else text


def _block(title: str, rows: Sequence[Sequence[Piece]]) -> Iterator[Line]:
    if rows:
        yield ""
        if title:
            yield [Styled(title, "bold")]
        yield from table([["", *row] for row in rows])
