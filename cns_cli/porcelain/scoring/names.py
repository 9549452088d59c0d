"""Names of what may be asked for, built-in and from installed packages, without torch and without importing a plugin.

The built-in metrics are named in `metrics`; a plugin's is a `cns.metrics.Metric`: one number for each image of a
concept, which falls when the concept is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable

from cns import extensions
from cns.errors import ExtensionError
from cns.provenance import CHOICES
from cns.scores import BUILT_IN
from cns_cli.porcelain.metrics import METRIC_NAMES, METRICS

STORED = ("others", *(metric.stored for metric in METRICS.values() if metric.stored))
"""Names under which evaluations hold other things; no plugin's metric may have one."""

POINTS = {"score": extensions.SCORES, "reg": extensions.REGULARIZERS, "metric": extensions.METRICS}
"""Option -> what its names stand for."""


SCORE_NAMES = tuple(BUILT_IN)
REGULARIZER_NAMES = tuple(CHOICES["reg"].values)
"""The built-in ones, as `cns.regularizers.REGULARIZERS` names them, which needs torch."""


def check_names(score: str | None, reg: str | None) -> None:
    """Refuse names of a score and a regularizer that nobody gives; None is the default.

    Raises:
        SettingsError, ExtensionError: As `cns.extensions.origin`.
    """
    for option, name, built_in in (("score", score, SCORE_NAMES), ("reg", reg, REGULARIZER_NAMES)):
        if name is not None:
            extensions.origin(POINTS[option], name, built_in)


def plugin_names(option: str) -> tuple[str, ...]:
    """Names that installed packages add to an option, sorted."""
    return extensions.plugin_names(POINTS[option])


def metric_names() -> tuple[str, ...]:
    """Every metric that can be asked for."""
    return extensions.known_names(extensions.METRICS, METRIC_NAMES)


def unknown_metric(names: Iterable[str]) -> str | None:
    """The first name that is no metric, or None. Only a name that is not built in makes it look for plugins."""
    foreign = [name for name in names if name not in METRIC_NAMES]
    known = plugin_names("metric") if foreign else ()
    return next((name for name in foreign if name not in known), None)


def package_of(metric: str) -> str:
    """Name and version of the package that a plugin's metric comes from.

    Raises:
        SettingsError, ExtensionError: It cannot be told.
    """
    if metric in STORED:
        package = extensions.origin(extensions.METRICS, metric, ())
        raise ExtensionError(
            f"the package {package} brings a metric {metric!r}, under which something else is stored: expected another "
            "name",
            name=metric,
            package=package,
        )
    return extensions.origin(extensions.METRICS, metric, METRIC_NAMES)
