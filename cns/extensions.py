"""Scores, regularizers and metrics of other packages: found by entry point, imported only when they are named.

A package that wants to add one declares it in its own `pyproject.toml`, under the group of `SCORES`, `REGULARIZERS` or
`METRICS`:

    [project.entry-points."cns.scores"]
    sharpness = "my_package:sharpness"

Once it is installed, `cns add --score sharpness` finds it. Names are listed from the metadata of installed packages,
without importing any of them. A built-in name cannot be taken: what `wanda` means must not depend on what is installed.
A plugin runs with all rights of the person who installed it. What its functions must do is said where the built-in ones
are: `cns.selection.Score`, `cns.regularizers`, `cns.metrics.Metric`; docs/extending.md has a whole example.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, TypeVar

from cns.errors import ExtensionError, MethodError, SettingsError

T = TypeVar("T")


@dataclass(frozen=True)
class Point:
    """A place where other packages may add something.

    Attributes:
        group: The group of entry points.
        what: One of them, in words.
        option: Where its name is typed.
    """

    group: str
    what: str
    option: str


SCORES = Point("cns.scores", "score", "cns add --score")
REGULARIZERS = Point("cns.regularizers", "regularizer", "cns add --reg")
METRICS = Point("cns.metrics", "metric", "cns check --metric")


@dataclass(frozen=True)
class Plugin:
    """What another package adds at a point.

    Attributes:
        point: Where.
        name: Its name there.
        package: Name and version of the package, "my-package 1.2"; of several packages, all of them.
    """

    point: Point
    name: str
    package: str

    def error(self, message: str, hint: str) -> ExtensionError:
        """The error of this plugin."""
        return ExtensionError(message, hint, name=self.name, package=self.package)

    def unusable(self, problem: str) -> ExtensionError:
        """What to raise where it does not do what one of its kind must."""
        what = self.point.what
        message = f"the {what} {self.name!r} of the package {self.package} {problem}"
        return self.error(message, f"docs/extending.md says what a {what} must do")

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Within the context, whatever goes wrong is said to be the plugin's fault.

        Raises:
            ExtensionError: In the place of every exception that is none of the method's own.
        """
        try:
            yield
        except MethodError:
            raise
        except Exception as error:
            raise self.unusable(f"failed: {type(error).__name__}: {error}") from error


def plugin_names(point: Point) -> tuple[str, ...]:
    """Names that installed packages add, sorted; nothing is imported."""
    return tuple(sorted({found.name for found in _declared(point.group, tuple(sys.path))}))


@lru_cache
def _declared(group: str, _path: tuple[str, ...]) -> EntryPoints:
    """Entry points of a group, looked for once in a process: that reads a file of every package on `sys.path`."""
    return entry_points(group=group)


def known_names(point: Point, built_in: Iterable[str]) -> tuple[str, ...]:
    """The built-in names, then those of installed packages that are not taken."""
    names = tuple(built_in)
    return names + tuple(name for name in plugin_names(point) if name not in names)


def origin(point: Point, name: str, built_in: Iterable[str]) -> str:
    """Which package gives a name, and in which version: "my-package 1.2"; empty for a built-in one.

    Raises:
        SettingsError: Nobody gives it.
        ExtensionError: It cannot be told who does.
    """
    found = _entry(point, name, tuple(built_in))
    return "" if found is None else _package(found)


def find(point: Point, name: str, built_in: Mapping[str, T], valid: Callable[[Any], bool] = callable) -> T:
    """Return what a name stands for; a plugin is imported now.

    Args:
        point: What kind of thing it is.
        name: As it was typed.
        built_in: The ones that come with this package.
        valid: Whether a loaded object can be one.

    Raises:
        SettingsError: There is none of that name; the message lists those that there are.
        ExtensionError: A package takes a built-in name, two packages give the same name, the package that gives it
            fails to import, or gives something else.
    """
    entry = _entry(point, name, tuple(built_in))
    if entry is None:
        return built_in[name]
    plugin = Plugin(point, name, _package(entry))
    try:
        loaded = entry.load()
    except Exception as error:
        raise plugin.error(
            f"the {point.what} {name!r} comes from the package {plugin.package}, which fails to import: "
            f"{type(error).__name__}: {error}",
            f'python -c "import {entry.module}"',
        ) from error
    if not valid(loaded):
        raise plugin.error(
            f"the package {plugin.package} gives {entry.value} as the {point.what} {name!r}, which is a "
            f"{type(loaded).__name__} and cannot be one",
            f"docs/extending.md says what a {point.what} is",
        )
    return loaded


def _entry(point: Point, name: str, built_in: tuple[str, ...]) -> EntryPoint | None:
    """The one entry point of a name, or None for a built-in name."""
    found = list(_declared(point.group, tuple(sys.path)).select(name=name))
    packages = ", ".join(sorted(_package(one) for one in found))
    plugin, remedy = Plugin(point, name, packages), f"pip uninstall {packages.partition(' ')[0]}"
    if name in built_in and found:
        raise plugin.error(
            f"the package {packages} brings a {point.what} {name!r}, which is the name of a built-in one: expected "
            "another name",
            remedy,
        )
    if name in built_in:
        return None
    if not found:
        known = ", ".join(known_names(point, built_in))
        raise SettingsError(
            f"no {point.what} {name!r}; there are {known}",
            f"{point.option.rpartition(' ')[0]} --help",
            name=point.what,
            value=name,
        )
    if len(found) > 1:
        raise plugin.error(f"more than one package brings a {point.what} {name!r}: {packages}", remedy)
    return found[0]


def _package(entry: EntryPoint) -> str:
    """Name and version of the package that an entry point came with."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.module
