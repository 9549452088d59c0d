"""One turn of mirroring a registry in MLflow: what `registry.mirror.mirror` does while it holds the mirror's lock.

A turn reads what MLflow has, writes what it lacks (runs, versions of the registered model, aliases, scores) and tells
what it wrote. What a commit's run holds is said in `registry.mirror.runs`.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import time as clock
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from registry import signals
from registry.dag import needed_first
from registry.errors import ObjectCorrupt, ObjectMissing
from registry.mirror import artifacts, place, proxy, runs, scores, served
from registry.mirror.busy import persistently
from registry.mirror.runs import EVALUATION_TAG, Figures, MoveLog
from registry.mirror.server import MlflowStore, newest_versions, search_runs, write_figures, write_points
from registry.objects import Commit, Evaluation, Tree
from registry.refs import ALIASES, COMMITS, EVALUATIONS
from registry.repository import Repository
from registry.store import ObjectStore


@dataclass
class SyncReport:
    """What `record` or `sync` did.

    Attributes:
        commits: Ids of the commits that were missing in MLflow and are there now.
        evaluations: Ids of the evaluations, likewise.
        refs: Names of the refs whose moves were logged.
        mended: Ids of commits and evaluations of whose files some were gone.
        rebuilt: The folder had moved, so that MLflow's absolute paths dangled: the mirror was made anew.
    """

    commits: list[str] = field(default_factory=list)
    evaluations: list[str] = field(default_factory=list)
    refs: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    rebuilt: bool = False


class MirrorSession:
    """One turn of mirroring; the caller holds the mirror's lock.

    Args:
        repository: The registry.
        store: Where MLflow is.
    """

    def __init__(self, repository: Repository, store: MlflowStore) -> None:
        self.repository = repository
        self.objects = repository.objects
        self.store = store
        self.client = store.connect()
        self.name = store.name or place.new_name(repository)
        self.report = SyncReport()
        self.runs: dict[str, str] = {}  # {commit id: id of its finished run}, as far as it was looked up
        self.proven = store.is_default  # whether a file has come back from the server
        self.experiment = self._place(self.name)
        self.model = place.model(self.client, self.name, repository)

    def record(self, commit_id: str, gate: str | None = None) -> SyncReport:
        """Mirror what is missing of a commit and its ancestors; everything, where the mirror had to be made anew."""
        if self.report.rebuilt:
            self.sync()
        cache = self.repository.folder / "cache" / "mlflow-refs.json"
        # A model that was deleted and made again numbers its versions from 1 again.
        key = f"{self.store.shown} {self.name} {self.experiment} {self.model.creation_timestamp}"
        log = MoveLog.cached(cache, key)
        self._write_commits([commit_id])
        self._write_evaluations()
        self._write_gate(commit_id, gate)
        self._log_moves(log.extended(newest_versions(self.client, self.name, log.last)), {*self.report.commits})
        log.save(cache, key)
        return self.report

    def sync(self) -> SyncReport:
        """Mirror what is missing of everything."""
        if self.store.is_default:  # with the lock in hand, whoever left a run open was killed
            for experiment in (self.experiment, self.of_scores):
                for run in search_runs(self.client, experiment, "attributes.status = 'RUNNING'"):
                    self.client.set_terminated(run.info.run_id, "KILLED")
        self.runs = self._finished("cns.commit")
        self._mend(self.runs, runs.commit_files)
        self._mend(self._finished(EVALUATION_TAG), runs.evaluation_files)
        self._write_commits(self._tips())
        log = MoveLog().extended(newest_versions(self.client, self.name, 0))
        unversioned = [commit_id for commit_id in self.runs if commit_id not in log.versions]
        self._log_moves(log, {*unversioned, *self.report.commits})
        self._write_evaluations()
        self._write_scores(self.runs)
        return self.report

    def _mend(self, there: Mapping[str, str], files_of: Callable[[ObjectStore, str], runs.RunFiles]) -> None:
        """Write files of runs again that are gone from where MLflow had them; there: {commit or evaluation: run id}."""
        for one, run_id in there.items():
            with contextlib.suppress(ObjectMissing, ObjectCorrupt):  # what the registry lacks, only fsck can tell
                files = files_of(self.objects, one)
                if files.names - set(artifacts.names(self.client, run_id)):
                    artifacts.write(self.client, run_id, files.read(self.objects))
                    self.report.mended.append(one)

    def record_scores(self, commit_id: str, trees: Collection[str], gate: str | None) -> SyncReport:
        """Write scores of trees to the runs of a commit and its ancestors of which they are, and the verdict."""
        if self.report.rebuilt or not self._has_run(commit_id):
            self.record(commit_id)
        self._write_gate(commit_id, gate)
        self._write_evaluations()
        history, wanted = self.repository.index.log([commit_id]), set(trees)
        commits = [found for found, commit in history if wanted & self._seen(commit) and self._has_run(found)]
        self._write_scores(commits)
        return self.report

    def _write_gate(self, commit_id: str, gate: str | None) -> None:
        """Say what a check said of a commit: on its versions, its logged model and its run; None: none was made."""
        if gate is None or not self._has_run(commit_id):
            return
        run = self.client.get_run(self.runs[commit_id])
        said = {runs.GATE: gate[: runs.LONGEST_TAG]}
        if said.items() <= run.data.tags.items():
            return
        for version in self.client.search_model_versions(f"run_id = '{run.info.run_id}'"):
            self.client.set_model_version_tag(self.name, version.version, runs.GATE, said[runs.GATE])
        if model_id := run.data.tags.get("cns.model"):
            self.client.set_logged_model_tags(model_id, said)
        self.client.set_tag(run.info.run_id, runs.GATE, said[runs.GATE])

    @functools.cached_property
    def of_scores(self) -> str:
        """The id of the experiment of evaluations: there are many, and the other one shows commits."""
        return self._place(scores.experiment_of(self.name))

    def _place(self, name: str) -> str:
        """Return the id of an experiment of ours, in which files can be read back."""
        root = self.store.artifact_root and f"{self.store.artifact_root}/{name}"
        found = self.client.get_experiment_by_name(name)
        if found is not None and root is not None and found.artifact_location != root:
            self._begin_anew()
            found = None
        if found is None or found.lifecycle_stage == "deleted":
            found = place.experiment(self.client, name, root)
        proxy.check_place(self.store.uri, found.artifact_location)
        return str(found.experiment_id)

    def _begin_anew(self) -> None:
        """Drop the mirror to make it again: the folder has moved, and MLflow keeps absolute paths.

        Raises:
            RegistryError: an object is missing or damaged; the mirror, which may be its last copy, stays.
        """
        needed = {name.rpartition("/")[2] for name in self.repository.refs.names(EVALUATIONS)}
        for commit_id, _ in self.repository.index.log(self._tips()):
            needed |= runs.closure(self.objects, [commit_id]).keys()
        for one in needed:
            self.objects.read(one)
        self.store.file.unlink()
        shutil.rmtree(self.store.folder / "mlartifacts", ignore_errors=True)
        self.client = self.store.connect()
        self.report.rebuilt = True

    def _tips(self) -> list[str]:
        """Return every commit that a ref or a reflog names and that is there."""
        repository = self.repository
        names = ["HEAD", *repository.refs.names(*COMMITS)]
        tips = {repository.resolve(name) for name in names}
        moves = [move for name in names for move in repository.reflog(name)]
        ends = {end for move in moves for end in (move.old, move.new) if end is not None}
        return sorted(tips | {end for end in ends if self.objects.has(end)})

    def _write_commits(self, tips: list[str]) -> None:
        """Write the runs of the commits under tips that have none, parents first."""
        for current in needed_first(tips, lambda one: self.repository.commit_of(one).parents, self._has_run):
            self.runs[current] = self._write_commit(current)
            self.report.commits.append(current)

    def _has_run(self, commit_id: str) -> bool:
        if commit_id not in self.runs:
            self.runs |= self._finished("cns.commit", f" and tags.`cns.commit` = '{commit_id}'")
        return commit_id in self.runs

    def _finished(self, tag: str, more: str = "") -> dict[str, str]:
        """Return {value of the tag: run id} of finished runs that have it, and whose files are there."""
        found = {}
        places = [self.experiment] + [self.of_scores] * (tag == EVALUATION_TAG)  # older mirrors have both in one
        where = "attributes.status = 'FINISHED'" + more
        for run in (run for one in places for run in search_runs(self.client, one, where)):
            here = self.store.local_files(run)
            if tag in run.data.tags and (here is None or (here / runs.MANIFEST).is_file()):
                found[run.data.tags[tag]] = run.info.run_id
        return found

    def _write_commit(self, commit_id: str) -> str:
        commit = self.repository.commit_of(commit_id)
        tags = runs.tags_of(self.objects, commit_id)
        figures = runs.figures_of(self.objects, commit)
        files = runs.commit_files(self.objects, commit_id).read(self.objects)
        title = f"{commit.kind}-{commit_id[:10]}"
        with self._run(self.experiment, title, commit.time, tags, files) as run_id:
            params = {key: value[: runs.LONGEST_MODEL_PARAM] for key, value in figures.params.items()}
            model = self.client.create_logged_model(self.experiment, title, run_id, tags, params, "cns")
            self.client.finalize_logged_model(model.model_id, "READY")
            write_figures(self.client, run_id, model.model_id, commit.time * 1000, figures)
            self.client.set_tag(run_id, "cns.model", model.model_id)
        return run_id

    @contextlib.contextmanager
    def _run(
        self, experiment: str, title: str, time: int, tags: dict[str, str], files: dict[str, bytes]
    ) -> Iterator[str]:
        """Yield the id of a run that holds files; it ends as finished only where nothing failed.

        A Ctrl-C waits for its beginning and its end, so that none stays open.
        """
        run_id, status = "", "FAILED"
        try:
            with signals.held(patience=1):
                run = self.client.create_run(experiment, start_time=time * 1000, tags=tags, run_name=title)
                run_id = run.info.run_id
            artifacts.write(self.client, run_id, files)
            if not self.proven:
                proxy.check_comes_back(self.client, run_id, runs.MANIFEST, files[runs.MANIFEST])
                self.proven = True
            yield run_id
            status = "FINISHED"
        finally:
            if run_id:
                with signals.held(patience=1):
                    self.client.set_terminated(run_id, status, end_time=time * 1000)

    def _log_moves(self, log: MoveLog, new: set[str]) -> None:
        """Give new commits their versions and moved refs their entries: on a new commit's own version, if it fits."""
        actual = MoveLog(refs=self._values(), versions=log.versions)
        moved = {ref: value for ref, value in actual.refs.items() if log.refs.get(ref, "") != value}
        moved |= dict.fromkeys(log.refs.keys() - actual.refs.keys(), "")
        order = [commit_id for commit_id, _ in self.repository.index.log(new) if commit_id in new]
        for commit_id in reversed(order):
            ref = next((ref for ref, value in moved.items() if value == commit_id), None)
            self._write_version(log, commit_id, ref, "" if ref is None else moved.pop(ref))
        for ref, value in moved.items():
            commit_id = (actual if value else log).commit_of(ref) or ""
            if self._has_run(commit_id):
                self._write_version(log, commit_id, ref, value)
        self._write_aliases(actual)

    def _write_version(self, log: MoveLog, commit_id: str, ref: str | None, value: str) -> None:
        run_id = self.runs[commit_id]
        of_run = self.client.get_run(run_id).data.tags
        tags = runs.tags_of(self.objects, commit_id) | {runs.GATE: of_run.get(runs.GATE, runs.UNCHECKED)}
        if ref is not None:
            tags |= {"ref": ref, "old": log.refs.get(ref, ""), "new": value} | self._promotion(ref)
            self.report.refs.append(ref)
        model_id = of_run.get("cns.model")
        source = f"models:/{model_id}" if model_id else f"runs:/{run_id}"  # a server takes no other of these two
        made = self.client.create_model_version(
            self.name, source, run_id, tags=tags, model_id=model_id, await_creation_for=0
        )
        log.extended([made])

    def _promotion(self, ref: str) -> dict[str, str]:
        """Return who put an alias where it is, when, and by which check; of other refs nothing."""
        if not ref.startswith(ALIASES) or not (moves := self.repository.reflog(ref)):
            return {}
        tags = {"cns.promoted": moves[0].message, "cns.promoted_by": moves[0].author}
        return {name: text[: runs.LONGEST_TAG] for name, text in tags.items()} | {"cns.promoted_at": str(moves[0].time)}

    def _write_aliases(self, actual: MoveLog) -> None:
        """Derive the aliases from the refs: they are for people; the log of versions is what counts."""
        commits = {runs.alias_of(ref): actual.commit_of(ref) or "" for ref in actual.refs}
        wanted = {alias: actual.versions[commit] for alias, commit in commits.items() if commit in actual.versions}
        there = self.client.get_registered_model(self.name).aliases
        followed = {runs.alias_of(ref) for ref in actual.refs if ref.startswith(ALIASES)}
        for alias, version in wanted.items():
            if str(there.get(alias)) != version:
                if alias in followed:
                    self._serve(commits[alias])
                persistently(self.client.set_registered_model_alias, self.name, alias, version)
        for alias in there.keys() - wanted.keys():
            self.client.delete_registered_model_alias(self.name, alias)

    def _serve(self, commit_id: str) -> None:
        """Let MLflow serve a commit's model, before an alias that servers follow leads there."""
        if not self._has_run(commit_id):
            return
        tags = self.client.get_run(self.runs[commit_id]).data.tags
        if "cns.model" in tags and served.TAG not in tags:
            made_by = served.log_model(self.client, tags["cns.model"], self.repository, commit_id)
            self.client.set_tag(self.runs[commit_id], served.TAG, made_by)

    def _values(self) -> dict[str, str]:
        """Return {ref: value} as it is here: ids; for HEAD on a branch, `ref: <name>`."""
        ref, commit = self.repository.refs.head()
        return self.repository.refs.all(*COMMITS) | {"HEAD": f"ref: {ref}" if ref else commit or ""}

    def _write_scores(self, commits: Iterable[str]) -> None:
        """Write the scores of each commit's tree to its run, where they are not there already."""
        by_tree = scores.evaluations_by_tree(self.repository)
        for commit_id in commits:
            commit = self.repository.commit_of(commit_id)
            found = (one for tree in sorted(self._seen(commit)) for one in by_tree.get(tree, ()))
            points = scores.points_of(self.objects.get(one, Evaluation) for one in found)
            if not points:
                continue
            there = self.client.get_run(self.runs[commit_id]).data.metrics
            new = {key: point for key, point in points.items() if there.get(key) != point.value}
            write_points(self.client, self.runs[commit_id], commit.time * 1000, new)

    def _seen(self, commit: Commit) -> set[str]:
        return scores.trees_seen(self.objects.get(commit.tree, Tree))

    def _write_evaluations(self) -> None:
        """Write the runs of evaluations that have none."""
        named = [name.rpartition("/")[2] for name in self.repository.refs.names(EVALUATIONS)]
        known = self._finished(EVALUATION_TAG) if named else {}
        for evaluation_id in named:
            if evaluation_id not in known:
                self._write_evaluation(evaluation_id)
                self.report.evaluations.append(evaluation_id)

    def _write_evaluation(self, evaluation_id: str) -> None:
        evaluation = self.objects.get(evaluation_id, Evaluation)
        tags = {
            EVALUATION_TAG: evaluation_id,
            "cns.tree": evaluation.tree,
            "cns.concept": evaluation.concept,
            "cns.protocol": evaluation.protocol_digest,
        }
        files = runs.evaluation_files(self.objects, evaluation_id).read(self.objects)
        now = int(clock.time())
        with self._run(self.of_scores, f"evaluation-{evaluation.concept_name}", now, tags, files) as run_id:
            figures = Figures(metrics=scores.scores_of(evaluation))
            write_figures(self.client, run_id, None, now * 1000, figures)
