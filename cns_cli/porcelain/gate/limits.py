"""What a check decides on, and by which limits: flags, then pyproject.toml, then config.toml, then the base's family.

A limit is a number for every metric that is a drop of a cosine, or one for each metric by name. A limit that was
written down is never passed over: a metric that has one is checked, too, unless `--metric` says otherwise.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cns.errors import SettingsError
from cns.families import Defaults, Family
from cns.files.plain import open_plain
from cns_cli.porcelain.metrics import METRIC_NAMES, METRICS, grows
from cns_cli.porcelain.options import CheckOptions
from cns_cli.porcelain.scoring.names import metric_names, unknown_metric
from registry import trust
from registry.errors import BadConfig
from registry.repository import Repository

FAST_METRICS = tuple(name for name, metric in METRICS.items() if metric.needs == "drift")
KEYS = ("metrics", "max-drop", "min", "images", "seed", "prompts", "encoder")
LONGEST_PROMPTS_FILE = 1_000_000  # bytes


@dataclass(frozen=True)
class LimitSource:
    """Settings of one place, checked.

    Attributes:
        metrics: Names, or empty.
        max_drop: Metric -> limit; "" = every metric that is a drop.
        minimum: Metric -> least mean; "" = the base's main score.
        images, seed, prompts, encoder: None = not said here.
    """

    metrics: tuple[str, ...] = ()
    max_drop: Mapping[str, float] = field(default_factory=dict)
    minimum: Mapping[str, float] = field(default_factory=dict)
    images: int | None = None
    seed: int | None = None
    prompts: Path | None = None
    encoder: str | None = None


@dataclass(frozen=True)
class Thresholds:
    """What is decided on, and by what.

    Attributes:
        metrics: In the order of the answer.
        max_drop: Metric -> limit, for each of them.
        minimum: Metric -> least mean, where there is one.
    """

    metrics: tuple[str, ...]
    max_drop: Mapping[str, float]
    minimum: Mapping[str, float]

    @property
    def plugins(self) -> tuple[str, ...]:
        """Metrics of other packages."""
        return tuple(name for name in self.metrics if name not in METRIC_NAMES)

    @property
    def needs(self) -> set[str]:
        """Kinds of evaluation keys that they are computed from."""
        return {METRICS[name].needs if name in METRICS else "metric" for name in self.metrics}

    def drawn(self, same: Collection[str]) -> set[str]:
        """`needs`, without those kinds in `same`, of which both sides are one, that no least score is asked of."""
        asked = {METRICS[name].needs for name in self.minimum if name in METRICS}
        return {kind for kind in self.needs if kind not in same or kind in asked}


def sources(repo: Repository, options: CheckOptions) -> tuple[LimitSource, ...]:
    """The places that say how to check, the strongest first: flags, pyproject.toml, config.toml.

    Raises:
        BadConfig: a file is no TOML, or says what cannot be meant; unknown keys are errors that name them.
    """
    flags = LimitSource(
        options.metrics, options.max_drop, options.minimum, options.images, options.seed, options.prompts,
        options.encoder,
    )  # fmt: skip
    config = repo.folder / "config.toml"
    found = [flags]
    if (project := _nearest(repo.root, "pyproject.toml")) is not None:
        tool = _table(project, _read(project).get("tool", {}), "tool")
        cns = _table(project, tool.get("cns", {}), "tool.cns")
        found.append(check_settings(project, _table(project, cns.get("check", {}), "tool.cns.check"), project.parent))
    found.append(check_settings(config, _table(config, repo.config.get("check", {}), "check"), repo.root))
    encoder = found[-1].encoder
    if encoder is not None and not Path(encoder).is_dir() and not trust.is_trusted(repo.root):
        raise BadConfig(
            config,
            f"check.encoder is {encoder!r}, and nothing is fetched because a file that came with a registry says so",
        )
    return tuple(found)


def first(places: Sequence[LimitSource], name: str) -> Any:
    """The value of a setting in the strongest place that says one, or None."""
    return next((value for place in places if (value := getattr(place, name)) is not None), None)


def thresholds_of(
    places: Sequence[LimitSource], family: Family, *, has_identity: bool, erases: bool = False, fast: bool = False
) -> Thresholds:
    """Settle metrics and limits.

    Args:
        places: From `sources`.
        family: The base's family, which has defaults.
        has_identity: Whether the base has an identity judge.
        erases: Whether the model erases nouns, which then are looked at where nobody says what is.
        fast: Only what needs no image.

    Raises:
        SettingsError: a minimum for a metric that has none; under `fast`, a flag that needs images.
    """
    main = "id" if has_identity else "clip-i"
    default = (*(("id",) if has_identity else ()), "clip-i", *(("erased",) if erases else ()))
    metrics = _fast_metrics(places[0]) if fast else _metrics(places, default, main)
    minimum: dict[str, float] = {}
    for place in reversed(places):
        for name, value in place.minimum.items():
            minimum[name or main] = value
    if wrong := sorted(filter(grows, minimum)):
        raise SettingsError(
            f"a minimum of {minimum[wrong[0]]:g} for {wrong[0]}, which should stay small: expected --max-drop "
            f"{wrong[0]}=X",
            "cns check --help",
            name="min",
            value=wrong[0],
        )
    return Thresholds(
        metrics,
        {name: _limit(name, places, family.defaults) for name in metrics},
        {name: value for name, value in minimum.items() if name in metrics},
    )


def read_templates(path: Path, least: int) -> tuple[str, ...]:
    """Read judge templates, one a line; empty lines are left out.

    Args:
        path: The file.
        least: How many different ones the baseline has.

    Raises:
        SettingsError: it cannot be read, a line has not one `{}`, or there are fewer than `least`.
    """
    try:
        with open_plain(path) as file:
            content = file.read(LONGEST_PROMPTS_FILE + 1)
        if len(content) > LONGEST_PROMPTS_FILE:
            raise _bad_prompts(path, f"is larger than {LONGEST_PROMPTS_FILE:,} bytes")
        lines = [line.strip() for line in content.decode("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise _bad_prompts(path, f"cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if line and line.count("{}") != 1:
            raise _bad_prompts(path, f"has {line!r} in line {number}: expected one {{}} that stands for the concept")
    templates = tuple(dict.fromkeys(line for line in lines if line))
    if len(templates) < least:
        raise _bad_prompts(
            path, f"holds {len(templates)} different prompts: expected at least the {least} that this base is judged on"
        )
    return templates


def _metrics(places: Sequence[LimitSource], default: tuple[str, ...], main: str) -> tuple[str, ...]:
    """The metrics that are asked for, and those that a limit was written down for."""
    chosen = next((place.metrics for place in places if place.metrics), default)
    asking = places[:1] if places[0].metrics else places  # with `--metric`, config files add none
    named = {name for place in asking for name in place.max_drop if name}
    named |= {name or main for place in asking for name in place.minimum}
    return tuple(
        dict.fromkeys((*chosen, *(name for name in METRIC_NAMES if name in named), *sorted(named - set(METRIC_NAMES))))
    )


def _fast_metrics(flags: LimitSource) -> tuple[str, ...]:
    """Those of `--fast`. What config files say about other metrics waits for a check with images."""
    asked = [*flags.metrics, *flags.max_drop, *flags.minimum]
    if wrong := [name for name in asked if name not in FAST_METRICS]:
        raise SettingsError(
            f"{wrong[0] or 'a drop of a cosine'} needs images, and --fast makes none: expected "
            f"{', '.join(FAST_METRICS)}, or no --fast",
            "cns check --fast --max-drop drift=0.01",
            name="metric",
            value=wrong[0],
        )
    for name, value in (("images", flags.images), ("seed", flags.seed), ("encoder", flags.encoder)):
        if value is not None:
            raise SettingsError(
                f"--{name} {value} is about images, and --fast makes none: expected no --{name}, or no --fast",
                "cns check --fast",
                name=name,
                value=value,
            )
    return FAST_METRICS


def _limit(metric: str, places: Sequence[LimitSource], defaults: Defaults) -> float:
    for place in places:
        if metric in place.max_drop:
            return place.max_drop[metric]
        if not grows(metric) and "" in place.max_drop:
            return place.max_drop[""]
    return float(getattr(defaults, METRICS[metric].limit if metric in METRICS else "max_drop"))


def _nearest(start: Path, name: str) -> Path | None:
    return next((folder / name for folder in (start, *start.parents) if (folder / name).is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadConfig(path, f"{error}; expected TOML") from error


def _table(path: Path, value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadConfig(path, f"{name} is {value!r}; expected a table")
    return value


def check_settings(path: Path, table: Mapping[str, Any], folder: Path) -> LimitSource:
    """Read the check settings of one file; relative paths are meant from its folder.

    Raises:
        BadConfig: an unknown key, or a value that cannot be meant.
    """
    if unknown := sorted(table.keys() - set(KEYS)):
        raise BadConfig(path, f"the check settings have no key {unknown[0]!r}; expected {', '.join(KEYS)}")
    metrics = table.get("metrics", [])
    named = isinstance(metrics, list) and all(isinstance(name, str) for name in metrics)
    if not named or unknown_metric(metrics):
        raise BadConfig(path, f"check metrics are {metrics!r}; expected a list of {', '.join(metric_names())}")
    prompts, encoder = (_text(path, table, key) for key in ("prompts", "encoder"))
    near = folder / encoder if encoder is not None else None
    return LimitSource(
        metrics=tuple(metrics),
        max_drop=dict(_limits(path, table, "max-drop", 0, math.inf)),
        minimum=dict(_limits(path, table, "min", -1, 1)),
        images=_whole(path, table, "images", 1),
        seed=_whole(path, table, "seed", 0),
        prompts=None if prompts is None else folder / prompts,
        encoder=str(near) if near is not None and near.is_dir() else encoder,
    )


def _limits(path: Path, table: Mapping[str, Any], key: str, low: float, high: float) -> Iterator[tuple[str, float]]:
    value = table.get(key, {})
    for name, limit in (value if isinstance(value, dict) else {"": value}).items():
        if name and unknown_metric([name]):
            raise BadConfig(path, f"check {key} names {name!r}; expected {', '.join(metric_names())}")
        least, most = low, high
        if key == "min" and name and name not in METRIC_NAMES:  # a plugin's score need not be a cosine
            least, most = -math.inf, math.inf
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not least <= limit <= most:
            raise BadConfig(path, f"check {key} is {limit!r}; expected a number from {least} to {most}")
        yield name, float(limit)


def _whole(path: Path, table: Mapping[str, Any], key: str, least: int) -> int | None:
    value = table.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise BadConfig(path, f"check {key} is {value!r}; expected a whole number from {least} on")
    return value


def _text(path: Path, table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise BadConfig(path, f"check {key} is {value!r}; expected a text")
    return value


def _bad_prompts(path: Path, reason: str) -> SettingsError:
    return SettingsError(f"the prompts file {path} {reason}", "cns check --help", name="prompts", value=str(path))
