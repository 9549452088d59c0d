"""Making a registry again from its mirror in MLflow: every object and every ref, bit for bit.

Every payload is written under the id that its own bytes hash to, so that what MLflow damaged is reported and never
believed. A ref that is intact, and whose commit is there, is left alone. This module writes objects and refs only: no
reflog, no index.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry import config, fsio, layout, locks, trust
from registry.dag import reachable
from registry.errors import (
    BadValue,
    MlflowUnavailable,
    NotARegistry,
    ObjectCorrupt,
    ObjectMissing,
    RefCorrupt,
    RegistryError,
)
from registry.mirror import runs
from registry.mirror.runs import MoveLog
from registry.mirror.scores import experiment_of
from registry.mirror.server import NAME, NAME_KEY, SOURCE_KEY, SOURCE_TAG, MlflowStore, newest_versions, search_runs
from registry.objects import Commit, Concept, Evaluation
from registry.refs import EVALUATIONS, Refs
from registry.store import DiskStore
from registry.trees import birth

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPECTED = "a store that holds the registry to restore"
FROM_THERE = "where the registry is whole: cns mlflow sync"
NAME_IT = "say which server holds it: export MLFLOW_TRACKING_URI=http://HOST:PORT"


@dataclass
class RestoreReport:
    """What `restore` did.

    Attributes:
        objects: Number of whole objects that MLflow had; damaged: what of others could not be used, with the reason.
        refs: {ref: value} that were set. kept: Refs that were intact and say otherwise than MLflow.
        lacking: {ref of a score: the id of an object that it needs}, which MLflow does not hold.
    """

    objects: int = 0
    damaged: list[str] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    lacking: dict[str, str] = field(default_factory=dict)


def restore(folder: Path, tracking_uri: str | None = None, name: str | None = None) -> RestoreReport:
    """Make the objects and refs of the registry in folder again; see `MlflowMirror.restore`."""
    target = Path(folder).resolve() / layout.FOLDER
    store = MlflowStore(target, tracking_uri)
    if store.is_default and not store.file.exists():
        reason = f"'{store.file}' is missing, so there is nothing to restore from"
        raise MlflowUnavailable(reason, store.shown, NAME_IT, EXPECTED)
    fresh = not target.exists()
    if not fresh:
        trust.check(target)
    fsio.make_folder(target)
    try:
        with store.errors(), locks.hold(target / "mlflow.lock"), layout.locked(target):
            return _Restoring(target, store, store.connect()).run(name)
    except BaseException:
        if fresh:  # a folder that only looks like a registry would be in the way of the next command
            shutil.rmtree(target, ignore_errors=True)
        raise


class _Restoring:
    """One turn of restoring, under the locks of registry and mirror."""

    def __init__(self, folder: Path, store: MlflowStore, client: MlflowClient) -> None:
        self.folder = folder
        self.store = store
        self.client = client
        self.objects = DiskStore(folder / "objects")
        self.refs = Refs(folder)

    def run(self, asked: str | None) -> RestoreReport:
        report = RestoreReport()
        name = asked or self.store.name or self._only_name()
        if self.store.name not in (None, name):
            raise BadValue(
                "the registry's name", name, f"'{self.store.name}', which this folder holds, or another folder"
            )
        experiment = self.client.get_experiment_by_name(name) if NAME.fullmatch(name) else None
        if experiment is None:
            raise MlflowUnavailable(f"it has no registry '{name}'", self.store.shown, "cns mlflow restore", EXPECTED)
        self._make_skeleton(name)
        scores = self.client.get_experiment_by_name(experiment_of(name))
        found: dict[str, str | None] = {}
        for place in (experiment, scores):
            if place is not None:
                for run in search_runs(self.client, str(place.experiment_id), "attributes.status = 'FINISHED'"):
                    found |= self._objects_of(run, report)
        log = MoveLog().extended(newest_versions(self.client, name, 0))
        self._check_whole(log, report)
        self._set_scores({one for one, tag in found.items() if one == tag}, report, found)
        for ref, value in log.refs.items():
            if ref != "HEAD":
                self._set_ref(ref, value, report)
        self._set_head(log.refs.get("HEAD", ""), report)
        return report

    def _missing(self, starts: Iterable[str]) -> list[str]:
        """Return what starts need and the store lacks."""
        missing: list[str] = []

        def needs(current: str) -> tuple[str, ...]:
            try:
                blob = self.objects.kind_of(current) == "blob"
                return () if blob else self.objects.load(current).links()
            except (ObjectMissing, ObjectCorrupt):
                missing.append(current)
                return ()

        reachable(starts, needs)
        return missing

    def _check_whole(self, log: MoveLog, report: RestoreReport) -> None:
        """Raise MlflowUnavailable where a commit that a ref means lacks an object: no ref has been moved yet."""
        missing = self._missing({commit for ref in log.refs if (commit := log.commit_of(ref))})
        if missing:
            found = report.damaged[0] if report.damaged else "no file of MLflow's holds it"
            count = f"{len(missing)} needed objects, first" if len(missing) > 1 else "a needed object,"
            lacks = f"it lacks {count} {min(missing)[:10]}: {found}; no ref was moved"
            raise MlflowUnavailable(lacks, self.store.shown, FROM_THERE, "a store with all of them")

    def _set_scores(self, evaluations: Collection[str], report: RestoreReport, found: Collection[str]) -> None:
        """Set the refs of the evaluations that are whole, and note those, here before too, that are not."""
        here = self._scores_here()
        self._make_births({*evaluations, *here.values()}, found)
        wanted = {f"{EVALUATIONS}{self.objects.get(one, Evaluation).tree}/{one}": one for one in evaluations}
        for ref, value in sorted((here | wanted).items()):
            if missing := self._missing([value]):
                report.lacking[ref] = min(missing)
            elif ref in wanted:
                self.refs.overwrite(ref, value)
                report.refs[ref] = value

    def _scores_here(self) -> dict[str, str]:
        """Return {ref: value} of the scores that this registry names and that can be read."""
        here: dict[str, str] = {}
        for ref in self.refs.names(EVALUATIONS):
            with contextlib.suppress(RefCorrupt):
                here[ref] = self.refs.get(ref) or ""
        return here

    def _make_births(self, evaluations: Collection[str], found: Collection[str]) -> None:
        """Make trees again that older mirrors left out: of a concept's birth, where no commit has that tree."""
        held = [one for one in evaluations if self.objects.holds(one, Evaluation)]
        trees = {self.objects.get(one, Evaluation).tree for one in held}
        if all(map(self.objects.has, trees)):
            return
        for concept in (one for one in found if self.objects.holds(one, Concept)):
            with contextlib.suppress(ObjectMissing, ObjectCorrupt):
                if (made := birth(self.objects, concept)).id in trees:
                    self.objects.put(made)

    def _only_name(self) -> str:
        known = [model.name for model in self.client.search_registered_models() if "cns.registry" in model.tags]
        models = [name for name in known if NAME.fullmatch(name)]
        if len(models) != 1:
            hint = f"cns mlflow restore --name {min(models)}" if models else FROM_THERE
            held = f"several registries: {', '.join(sorted(models))}" if models else "no registry"
            raise MlflowUnavailable(f"it holds {held}", self.store.shown, hint, EXPECTED)
        return str(models[0])

    def _make_skeleton(self, name: str) -> None:
        """Write what is missing around objects and refs: folders, the format, and the settings that MLflow knows."""
        settings = config.load(self.folder / "config.toml")
        changed = config.with_value(settings, NAME_KEY, name)
        source = self.client.get_registered_model(name).tags.get(SOURCE_TAG)
        if source and config.lookup(settings, SOURCE_KEY) is None:
            changed = config.with_value(changed, SOURCE_KEY, source)
        try:
            layout.check_format(self.folder)
        except NotARegistry:
            layout.write_skeleton(self.folder, changed)
        else:
            DiskStore.create(self.folder / "objects")
            for key in (NAME_KEY, SOURCE_KEY):
                if (value := config.lookup(changed, key)) != config.lookup(settings, key):
                    config.change(self.folder / "config.toml", key, value)

    def _objects_of(self, run: Any, report: RestoreReport) -> dict[str, str | None]:
        """Store the objects of a run; return their ids, each with that of the run's evaluation."""
        with tempfile.TemporaryDirectory(prefix="cns-restore-") as scratch:
            # Of a local store also where the folder has moved since.
            here = self.store.local_files(run) or Path(self.client.download_artifacts(run.info.run_id, "", scratch))
            try:
                found = runs.read_files(here, self.objects, report.damaged)
            except RegistryError as error:
                report.damaged.append(error.message)
                return {}
        report.objects += len(found)
        return dict.fromkeys(found, run.data.tags.get(runs.EVALUATION_TAG))

    def _set_ref(self, ref: str, value: str, report: RestoreReport) -> None:
        try:
            found = self.refs.get(ref)
        except RefCorrupt:
            found = None
        if found == value:
            return
        if found is not None and self.objects.holds(found, Commit):
            report.kept.append(ref)
            return
        self.refs.overwrite(ref, value)
        report.refs[ref] = value

    def _set_head(self, value: str, report: RestoreReport) -> None:
        try:
            ref, commit = self.refs.head()
            here = self.refs.get(ref) if ref else commit
        except RefCorrupt:
            here = None
        if here is None or not self.objects.holds(here, Commit):
            ref = value.removeprefix("ref: ") if value.startswith("ref: ") else None
            self.refs.set_head(ref=ref, commit=None if ref else value)
            report.refs["HEAD"] = value
