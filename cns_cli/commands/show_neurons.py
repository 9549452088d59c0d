"""`cns show --neurons REV`: the heat map and the overlaps as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cns_cli import figures
from cns_cli.output import Line, Piece, Styled, table

if TYPE_CHECKING:
    from cns_cli.porcelain.views.neurons import MatrixNeurons, NeuronsResult

SHADES = " .:-=+*#%@"
"""From none to the densest cell of the map; plain ASCII, which every terminal shows."""


def neurons_lines(result: NeuronsResult) -> Iterator[Line]:
    """Shape a concept's neurons: a row for each layer, K and V side by side, then what others share."""
    where = f"{figures.percent(result.share_kv)} of K/V, {figures.percent(result.share_denoiser)} of the denoiser"
    along = f", along {figures.plural(result.rank, 'direction')}" if result.rank else ""
    yield [Styled(result.name, "bold"), f"  {result.neurons:,} neurons, {where}{along}"]
    yield ""
    most = max((max(one.bins) for one in result.matrices), default=0.0)
    yield from table(_rows(result, most), header=("", "K: inputs, left to right", "", "V", ""), right=(2, 4))
    yield ""
    yield f"one character is a part of the inputs; '{SHADES[-1]}': {figures.percent(most)} of its weights, ' ': none"
    if result.overlaps:
        yield ""
        header = ("of them also in", "neurons", "share", "by chance", "times")
        yield from table(_overlaps(result), header=header, right=(1, 2, 3, 4))


def _rows(result: NeuronsResult, most: float) -> list[list[Piece]]:
    found = {(one.layer, one.kind): one for one in result.matrices}
    layers = dict.fromkeys(one.layer for one in result.matrices)
    return [[layer, *(cell for kind in "KV" for cell in _cells(found.get((layer, kind)), most))] for layer in layers]


def _cells(one: MatrixNeurons | None, most: float) -> tuple[str, str]:
    if one is None:
        return "", ""
    return "|" + "".join(_shade(share, most) for share in one.bins) + "|", figures.percent(one.share)


def _shade(share: float, most: float) -> str:
    """A character for a share: blank for none alone, the last one for the densest."""
    if share <= 0 or most <= 0:
        return SHADES[0]
    return SHADES[1 + min(int(share / most * (len(SHADES) - 1)), len(SHADES) - 2)]


def _overlaps(result: NeuronsResult) -> list[list[Piece]]:
    return [
        [
            one.name,
            f"{one.shared:,}",
            figures.percent(one.share),
            figures.percent(one.chance),
            f"{one.share / one.chance:.1f}" if one.chance else "-",
        ]
        for one in result.overlaps
    ]
