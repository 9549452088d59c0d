"""The bars of the project in one table, from the figures that the other benchmarks kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.gate_noise import CHECKS
from benchmarks.report import Cell, Report, Table, load_figures


def _at_most(bar: float) -> Callable[[float], bool]:
    return lambda value: value <= bar


def _at_least(bar: float) -> Callable[[float], bool]:
    return lambda value: value >= bar


@dataclass(frozen=True)
class Bar:
    """One promise: what, the benchmark and figure that measure it, how it is printed, its bar, whether it is met."""

    what: str
    benchmark: str
    figure: str
    form: str
    bar: str
    met: Callable[[float], bool]


LEARNING, GENERATE, REGISTRY, STARTUP = "learning", "generate", "registry", "startup"
SINGLES, STREAM, MULTI = "singles", "stream", "multi"
CHECK, NOISE = "check", "gate_noise"
Z_95 = 1.96  # standard deviations of a normal distribution that hold 95 % of it
THREE = "`cns generate` with three concepts named, against the union, time"
CHECKED = "`cns check`, ten concepts, twenty prompts, two images of each"
ALARM = "a harmless commit called forgotten, of 100 checks with other seeds"
CAUGHT = "a harmful commit (--reg none) called forgotten by identity alone, likewise"
ARTISTS = "images nearer to the concept than to the same noun by five other artists"
WAY = "identity gained, of the way to the references' own similarity"
PEER = "identity gained, against training all K/V weights for the same steps"
DROP = "first concept's drop after two more, upper bound"
NONE = "the same with `--reg none` (cat, dog, car: chosen because it forgets much)"
CUSTOM = "identity gained by a single concept, against Custom Diffusion"
FORGOTTEN = "backward transfer of identity over twenty concepts"
GAINED = "identity gained over twenty concepts"
LEFT = "identity left after the twentieth, likewise"
LARGEST = "largest drop of identity of any concept in any order"
ZERO_SHOT = "pictures of other things after twenty concepts: how far from the base's"
OVER_TOKEN = "identity that the weights add to the token, 9th to 20th concept"
SEVERAL_UNION = "several concepts in a picture: tables, of four, with CNS significantly below the union in"
BELOW_UNION = "tables with CNS below CNS union"
BOTH = ("identity", "CLIP-T")
SEVERAL = "several concepts in a picture: tables, of four, with CNS significantly below the best in"
BELOW = "tables with CNS below the best"
BARS = (
    Bar(ARTISTS, LEARNING, "nearest", "{:.0%}", "≥ 80 %", _at_least(0.8)),
    Bar(WAY, LEARNING, "of the way", "{:.2f}", "≥ 0.6", _at_least(0.6)),
    Bar(PEER, LEARNING, "gain over peer", "{:.2f}", "≥ 0.85", _at_least(0.85)),
    Bar(DROP, LEARNING, "first concept's drop, features, upper bound", "{:+.3f}", "≤ 0.02", _at_most(0.02)),
    Bar(NONE, LEARNING, "first concept's drop, none", "{:+.3f}", "≥ 0.1", _at_least(0.1)),
    Bar(CUSTOM, SINGLES, "gain against custom diffusion", "{:.2f}", "≥ 0.95", _at_least(0.95)),
    Bar(GAINED, STREAM, "CNS: gain identity", "{:.3f}", "≥ 0.330", _at_least(0.330)),
    Bar(LEFT, STREAM, "CNS: final identity", "{:.3f}", "≥ 0.870", _at_least(0.870)),
    Bar(FORGOTTEN, STREAM, "CNS: bwt identity", "{:+.3f}", "≥ -0.001", _at_least(-0.001)),
    Bar("backward transfer of CLIP-I, likewise", STREAM, "CNS: bwt clip_i", "{:+.3f}", "≥ -0.01", _at_least(-0.01)),
    Bar(LARGEST, STREAM, "CNS: largest drop", "{:+.3f}", "≤ 0.010", _at_most(0.010)),
    Bar(ZERO_SHOT, STREAM, "CNS: zero-shot", "{:.3f}", "≤ 0.002", _at_most(0.002)),
    Bar(OVER_TOKEN, STREAM, "CNS: 9th to 20th over the token alone", "{:+.3f}", "≥ +0.035", _at_least(0.035)),
    Bar("bytes of a concept", STREAM, "CNS: KiB a concept", "{:.0f} KiB", "≤ 35 KiB", _at_most(35)),
    *(Bar(f"{SEVERAL_UNION} {score}", MULTI, f"{BELOW_UNION}: {score}", "{:.0f}", "0", _at_most(0)) for score in BOTH),
    *(
        Bar(f"{SEVERAL} {score}", MULTI, f"{BELOW}: {score}", "{:.0f}", "0", _at_most(0))
        for score in ("identity", "CLIP-T", "CLIP-I")
    ),
    Bar("`cns generate` against plain diffusers, time", GENERATE, "ratio", "{:.3f}", "≤ 1.05", _at_most(1.05)),
    Bar(THREE, GENERATE, "named ratio", "{:.3f}", "≤ 1.03", _at_most(1.03)),
    Bar("an image in a batch of 16", GENERATE, "image s", "{:.2f} s", "≤ 0.3 s", _at_most(0.3)),
    Bar(CHECKED, CHECK, "check s", "{:.0f} s", "≤ 150 s", _at_most(150)),
    Bar("the same again, besides start-up", CHECK, "again s", "{:.2f} s", "≤ 0.5 s", _at_most(0.5)),
    Bar(ALARM, NOISE, "harmless: forgot", "{:.0%}", "≤ 1 %", _at_most(0.01)),
    Bar(CAUGHT, NOISE, "small harm: forgot", "{:.0%}", "≥ 90 %", _at_least(0.9)),
    Bar("price of the commit protocol", REGISTRY, "commit over plain write ms", "{:.0f} ms", "≤ 60 ms", _at_most(60)),
    Bar("`cns log -n 20`, whole process", STARTUP, "cns log -n 20 ms", "{:.0f} ms", "≤ 150 ms", _at_most(150)),
)


def run(quick: bool) -> Report:
    """Collect what has been measured; nothing is measured here, so `quick` changes nothing."""
    del quick
    rows: list[list[Cell]] = []
    for bar in BARS:
        value = load_figures(bar.benchmark).get(bar.figure)
        measured = "not measured" if value is None else bar.form.format(float(value))
        rows.append([bar.what, measured, bar.bar, "" if value is None else _verdict(bar, float(value))])
    return Report("summary", [Table("Measured", ["what", "measured", "bar", ""], rows, _doubts())])


def _doubts() -> str:
    """How sure the two shares of checks are, which were counted and not estimated."""
    found = load_figures(NOISE)
    if not found:
        return ""
    spans = [_wilson(float(found[figure] or 0), CHECKS) for figure in ("harmless: forgot", "small harm: forgot")]
    return (
        f"The shares of {CHECKS} checks, of one concept and one commit each, have 95 % intervals of "
        f"{' and '.join(f'{max(0.0, low):.0%} to {high:.0%}' for low, high in spans)}. The harm is a drop of identity "
        f"of {found['small harm: true drop of id']:.3f}. Times are of single runs, or medians of a few. {_orders()}"
    )


def _orders() -> str:
    """Of how many orders the figures of twenty concepts are."""
    orders = load_figures(STREAM).get("CNS: orders")
    return f"Figures of twenty concepts are means over {orders} of three orders." if orders else ""


def _wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % score interval of a share of `count` trials (Wilson 1927)."""
    extra = Z_95**2 / count
    middle, half = share + extra / 2, Z_95 * ((share * (1 - share) + extra / 4) / count) ** 0.5
    return (middle - half) / (1 + extra), (middle + half) / (1 + extra)


def _verdict(bar: Bar, value: float) -> str:
    return "met" if bar.met(value) else "**missed**"
