"""`config`: the settings of a registry, by their dotted keys.

A key is one of `KEYS`, and a value is refused that the command which reads it would refuse. `config.toml` may be edited
by hand as well; what nobody reads stays in it, and is listed. One key is no setting of this machine but part of the
model, and stands in no file: to set `compose` is a commit.
"""

from __future__ import annotations

import time as clock
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

from cns.families import EMOJI_64, family_named
from cns.files.plain import typed_path
from cns.presets import PRESETS
from cns_cli.optionfield import Dtype
from cns_cli.porcelain.gate.limits import check_settings
from cns_cli.porcelain.models.device import DTYPE_KEY
from cns_cli.porcelain.models.mirroring import mirror_commit
from cns_cli.porcelain.options import Request
from cns_cli.porcelain.result import Result
from registry import config
from registry.addresses import has_secret, shown
from registry.errors import BadConfig, BadValue, NotARegistry, RegistryError
from registry.mirror.server import NAME, NAME_KEY, SOURCE_KEY, URI_KEY
from registry.objects import COMPOSES, Base, Compose, Record, Tree
from registry.repository import Repository
from registry.trees import composing

TEXTS = ("user.name", SOURCE_KEY, NAME_KEY, URI_KEY)
REQUIRED = "mlflow.required"
CHECK = "check"
DTYPES = get_args(Dtype)
COMPOSE = "compose"
KEYS = (*TEXTS, REQUIRED, COMPOSE, DTYPE_KEY, f"{CHECK}.…")
"""What can be set; below `check` all that `[tool.cns.check]` of a pyproject.toml takes."""


class BadSetting(BadValue):
    """A key of `config.toml` that there is not, or a value that it cannot have."""

    def __init__(self, key: str, value: object, expected: str) -> None:
        self.key = key
        super().__init__(key, value, expected)
        self.hint = "cns config --help"


class SettingMissing(RegistryError):
    """A key of `config.toml` that is not set."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"{key!r} is not set in config.toml", "cns config")


@dataclass(frozen=True, kw_only=True)
class ConfigResult(Result):
    """The settings.

    Attributes:
        file: Where they are kept.
        settings: Dotted key -> value, of all settings or of the one that was asked for or set.
        commit: What `compose` was set by; None for settings of this machine.
    """

    file: Path
    settings: Mapping[str, Any]
    commit: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PresetView(Result):
    """A row of settings for `cns add --preset`, for the base of a registry.

    Attributes:
        time: Processor time as a multiple of that of `balanced`; `gain` and `drop` are of identity. All three are
            measured on the embedded base.
    """

    name: str
    steps: int
    warmup: int
    time: float
    gain: float
    drop: float


@dataclass(frozen=True, kw_only=True)
class PresetsResult(Result):
    """The presets of a base's family."""

    family: str
    presets: tuple[PresetView, ...]


def list_presets(start: Path) -> PresetsResult:
    """Return the presets for the base of a registry; where there is none, for the base that a new one gets."""
    try:
        repo = Repository.discover(start)
        family = family_named(repo.objects.get(repo.tree_of("HEAD").base, Base).family)
    except NotARegistry:
        family = EMOJI_64
    rows = {name: (preset.of(family).defaults, preset.measured) for name, preset in PRESETS.items()}
    views = (
        PresetView(name=name, steps=row.steps, warmup=row.warmup_steps, **asdict(measured))
        for name, (row, measured) in rows.items()
    )
    return PresetsResult(family=family.name, presets=tuple(views))


def list_settings(start: Path) -> ConfigResult:
    """Return all settings; raises NotARegistry, BadConfig."""
    repo = Repository.discover(start)
    settings = dict(_dotted(repo.config)) | {COMPOSE: repo.tree_of("HEAD").compose}
    return ConfigResult(file=_file(repo), settings=dict(sorted(settings.items())))


def get_setting(start: Path, key: str) -> ConfigResult:
    """Return one setting, or the settings of a table.

    Raises:
        NotARegistry, BadConfig.
        SettingMissing: it is not set.
    """
    repo = Repository.discover(start)
    value = repo.tree_of("HEAD").compose if key == COMPOSE else config.lookup(repo.config, key)
    if value is None:
        raise SettingMissing(key)
    return ConfigResult(file=_file(repo), settings=dict(_dotted({key: value})))


def change_setting(request: Request, key: str, written: str | None) -> ConfigResult:
    """Set a key, or remove it.

    Args:
        request: Where; by whom and when, where it is a commit.
        key: Dotted.
        written: The value as it is typed; below `check` and for `mlflow.required` TOML. None removes the key.

    Raises:
        NotARegistry, LockBusy, BadConfig.
        BadSetting: there is no such key, or it cannot have this value.
        SettingMissing: the key to remove is not set.
        NothingToDo: the model is composed so already.
        MlflowUnavailable: the registry demands MLflow (`mlflow.required`) and it cannot be reached; the commit stands.
    """
    repo = Repository.discover(request.start)
    if key == COMPOSE:
        return _composed(repo, request, written)
    if written is None:
        get_setting(request.start, key)
        repo.set_config(key, None)
        return ConfigResult(file=_file(repo), settings={})
    if "://" in written and has_secret(written):
        raise BadSetting(key, shown(written), "an address alone; MLFLOW_TRACKING_URI may hold more")
    value = _value(key, written)
    if key.startswith(f"{CHECK}."):
        changed = config.with_value(repo.config, key, value)
        try:
            check_settings(_file(repo), changed[CHECK], repo.root)
        except BadConfig as error:
            raise BadSetting(key, written, f"what `cns check` can read ({error.reason})") from None
    repo.set_config(key, value)
    return ConfigResult(file=_file(repo), settings=dict(_dotted({key: value})))


def _composed(repo: Repository, request: Request, written: str | None) -> ConfigResult:
    """Commit HEAD's tree with the same concepts, of which prompts see others."""
    if written not in COMPOSES:
        raise BadSetting(COMPOSE, written, " or ".join(COMPOSES))
    compose, head = cast("Compose", written), repo.head()
    done = repo.commit(
        kind="compose",
        message=f"compose {compose}",
        author=request.author,
        time=int(clock.time()) if request.time is None else request.time,
        record=Record({"params": {COMPOSE: compose}}),
        change=lambda tree: composing(tree, compose),
        seen=head.commit,
        keep_as=COMPOSE,
    )
    warnings = (*_strangers(repo, repo.tree_of(done.id)), *mirror_commit(repo, done.id, request.mlflow_uri))
    return ConfigResult(file=_file(repo), settings={COMPOSE: compose}, commit=done.id, warnings=warnings)


def _strangers(repo: Repository, tree: Tree) -> tuple[str, ...]:
    """Say which concepts were learned for prompts that saw others than they see now."""
    if tree.compose == "all":
        several = len(tree.concepts) > 1
        return ("every prompt sees all concepts now, whatever each was learned beside: cns check",) if several else ()
    beside = [name for name, one in repo.concepts(tree).items() if repo.objects.get(one.trained_on, Tree).concepts]
    if not beside:
        return ()
    learned = f"{', '.join(beside)} learned beside other concepts, whose weights prompts no longer see: cns check"
    return (f"{learned}; to learn anew: cns add {beside[0]} IMAGES/ --replace",)


def _file(repo: Repository) -> Path:
    return repo.folder / "config.toml"


def _value(key: str, written: str) -> Any:
    """Return what a typed value means for its key."""
    if key == SOURCE_KEY and typed_path(written).exists():
        return str(typed_path(written).resolve())
    if key == NAME_KEY and not NAME.fullmatch(written):
        raise BadSetting(key, written, "letters, digits, '-' and '_', at most 128")
    if key in TEXTS:
        if not written.strip():
            raise BadSetting(key, written, "a text; `--unset` removes the key")
        return written
    if key == REQUIRED:
        if written not in ("true", "false"):
            raise BadSetting(key, written, "true or false")
        return written == "true"
    if key == DTYPE_KEY:
        if written not in DTYPES:
            raise BadSetting(key, written, f"one of {', '.join(DTYPES)}")
        return written
    if key.startswith(f"{CHECK}."):
        return _toml(written)
    raise BadSetting(key, written, f"another key: {', '.join(KEYS)}")


def _toml(written: str) -> Any:
    """Return a TOML value, or the text itself where it is none, so that a path needs no quotes."""
    try:
        return tomllib.loads(f"value = {written}")["value"]
    except (ValueError, RecursionError):
        return written


def _dotted(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of nested tables, sorted; addresses that a person wrote there without passwords."""
    for name, value in sorted(settings.items()):
        if isinstance(value, dict):
            yield from _dotted(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", shown(value) if isinstance(value, str) and "://" in value else value
