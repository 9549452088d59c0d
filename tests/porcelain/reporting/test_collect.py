"""What a report reads of a registry: real registries, made without a model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cns_cli.porcelain.options import ReportOptions
from cns_cli.porcelain.report import report
from cns_cli.porcelain.reporting import collect as module
from cns_cli.porcelain.reporting.collect import Collector
from cns_cli.porcelain.reporting.data import ReportData
from registry.objects import Concept, Evaluation, Tree
from registry.repository import Repository
from registry.trees import with_concept, without_concept
from tests.registry import making

PLAN: dict[str, Any] = {"prompts": "p", "seed": 0, "steps": 15}
SPREAD = np.linspace(-0.02, 0.02, 10)[:, None] + np.array([[-0.001, 0.001]])


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return making.new_repository(tmp_path)


def collect(repo: Repository, rev: str = "HEAD") -> ReportData:
    """As a process of its own would: what this one has cached of the registry is not used."""
    fresh = Repository(repo.root)
    return Collector(fresh, fresh.resolve(rev)).collect(rev)


def score(repo: Repository, rev: str, name: str, mean: float, plan: dict[str, Any] = PLAN, digest: str = "d1") -> None:
    """Store scores of a concept in the tree of a revision."""
    tree = repo.commit_of(repo.resolve(rev)).tree
    concept = repo.tree_of(rev).concepts[name]
    values = (SPREAD + mean).tolist()
    scores = {"identity": values, "clip_i": values, "clip_t": values}
    repo.add_evaluation(Evaluation(tree, concept, name, plan, digest, scores))


def two(repo: Repository) -> None:
    making.add(repo, "rex")
    making.add(repo, "tom")


def test_rows_are_the_states_and_columns_the_concepts_in_their_order(repo):
    two(repo)
    data = collect(repo)
    assert [row.subject for row in data.rows] == ["add rex", "add tom"]
    assert [column.name for column in data.columns] == ["rex", "tom"]
    assert data.rows[0].tree == data.columns[0].birth_tree
    assert data.columns[1].commit == data.head.id
    assert data.head.refs == ("HEAD -> main",)


def test_scores_are_found_by_tree_and_concept(repo):
    two(repo)
    for rev, name, mean in (("HEAD~1", "rex", 0.9), ("HEAD", "rex", 0.8), ("HEAD", "tom", 0.7)):
        score(repo, rev, name, mean)
    data = collect(repo)
    assert [table.metric for table in data.tables] == ["identity", "clip_i", "clip_t"]
    assert data.tables[0].cells[1][0].change == pytest.approx(-0.1)
    assert data.tables[0].summary.bwt == pytest.approx(-0.1)
    assert data.outcomes == ("forgot", "kept")
    assert data.outcome == "forgot"
    assert data.worst[0].commit == data.head.id


def test_nothing_measured_is_said_and_not_guessed(repo):
    two(repo)
    data = collect(repo)
    assert data.tables == ()
    assert data.outcome == "unmeasured"


def test_the_protocol_that_covers_most_is_shown_and_the_others_are_counted(repo):
    two(repo)
    score(repo, "HEAD~1", "rex", 0.9, {**PLAN, "seed": 7}, "d7")
    score(repo, "HEAD", "rex", 0.9, {**PLAN, "seed": 7}, "d7")
    score(repo, "HEAD", "rex", 0.1)
    data = collect(repo)
    assert (data.protocol_digest, data.protocol["seed"], data.other_protocols) == ("d7", 7, 1)
    assert data.tables[0].cells[1][0].value == pytest.approx(0.9)


def test_the_answer_in_json_holds_the_matrix(repo, tmp_path):
    two(repo)
    for rev, name, mean in (("HEAD~1", "rex", 0.9), ("HEAD", "rex", 0.8)):
        score(repo, rev, name, mean)
    options = ReportOptions(start=repo.root, out=tmp_path / "r.html", pictures=False)
    answer = json.loads(json.dumps(report(options).to_json()))
    assert [row["id"] for row in answer["commits"]] == [repo.resolve("HEAD~1"), repo.resolve("HEAD")]
    assert [(one["name"], one["outcome"]) for one in answer["concepts"]] == [("rex", "forgot"), ("tom", "unmeasured")]
    identity = answer["scores"][0]
    assert identity["metric"] == "identity"
    assert identity["cells"][1][0]["value"] == pytest.approx(0.8)
    assert identity["cells"][1][1] is None


def test_more_images_of_one_protocol_replace_fewer(repo):
    making.add(repo, "rex")
    score(repo, "HEAD", "rex", 0.5)
    concept = repo.tree_of("HEAD").concepts["rex"]
    values = np.full((10, 8), 0.6).tolist()
    tree = repo.commit_of(repo.resolve("HEAD")).tree
    repo.add_evaluation(Evaluation(tree, concept, "rex", PLAN, "d1", {"clip_i": values, "clip_t": values}))
    cell = collect(repo).tables[0].cells[0][0]
    assert (cell.images, cell.value) == (8, pytest.approx(0.6))


def test_the_class_noun_on_the_base_is_the_base_s_level(repo):
    making.add(repo, "rex")
    score(repo, "HEAD", "rex", 0.9)
    concept, tree = repo.tree_of("HEAD").concepts["rex"], repo.tree_of("HEAD")
    empty = repo.objects.put(Tree(tree.base, {}))
    values = (SPREAD + 0.3).tolist()
    for plan, digest in ((PLAN | {"subject": "class"}, "c1"), (PLAN | {"subject": "class", "seed": 9}, "c2")):
        scores = {"identity": values if digest == "c1" else np.full((10, 2), 0.99).tolist(), "clip_t": values}
        repo.add_evaluation(Evaluation(empty, concept, "rex", plan, digest, scores))
    assert collect(repo).tables[0].base == (pytest.approx(0.3),)


@pytest.mark.parametrize(
    "scores",
    [
        {"clip_i": [[2.0]], "clip_t": [[0.5]]},
        {"clip_i": "much", "clip_t": [[0.5]]},
        {"clip_i": [[0.1, 0.2], [0.3]], "clip_t": [[0.5]]},
        {"clip_t": []},
        {"identity": [[0.1]], "clip_i": [[0.1, 0.2]], "clip_t": [[0.5]]},
    ],
)
def test_scores_that_are_none_count_as_not_there(repo, scores):
    making.add(repo, "rex")
    tree = repo.commit_of(repo.resolve("HEAD")).tree
    repo.add_evaluation(Evaluation(tree, repo.tree_of("HEAD").concepts["rex"], "rex", PLAN, "d1", scores))
    data = collect(repo)
    assert data.tables == ()
    assert any("rex" in warning for warning in data.warnings)


def test_a_damaged_evaluation_and_a_damaged_record_leave_the_rest(repo):
    two(repo)
    score(repo, "HEAD", "tom", 0.7)
    score(repo, "HEAD", "rex", 0.9)
    name = repo.refs.names("refs/evaluations/")[0]
    spoil(repo, repo.refs.get(name))
    spoil(repo, repo.commit_of(repo.resolve("HEAD")).record)
    data = collect(repo)
    assert sum("is corrupt" in warning for warning in data.warnings) == 2
    assert sum(cell is not None for cells in data.tables[0].cells for cell in cells) == 1
    assert data.columns[1].neurons is None


def test_a_damaged_commit_ends_the_history_with_a_warning(repo):
    two(repo)
    making.add(repo, "mug")
    spoil(repo, repo.resolve("HEAD~2"))
    data = collect(repo)
    assert [row.subject for row in data.rows] == ["add tom", "add mug"]
    assert data.warnings


def test_a_damaged_concept_is_left_out(repo):
    two(repo)
    spoil(repo, repo.tree_of("HEAD").concepts["tom"])
    data = collect(repo)
    assert [column.name for column in data.columns] == ["rex"]
    assert data.warnings


def test_a_removed_concept_stays_a_column(repo):
    two(repo)
    change(repo, "remove", lambda tree: without_concept(tree, "rex"))
    data = collect(repo)
    assert [(column.name, column.current) for column in data.columns] == [("rex", False), ("tom", True)]
    assert "without rex" in data.columns[1].context
    assert data.outcomes[0] == "unmeasured"


def test_a_replaced_concept_is_two_columns(repo):
    making.add(repo, "rex")
    other = making.put_concept(repo.objects, "rex", repo.commit_of(repo.resolve("HEAD~1")).tree, "again")
    change(repo, "add", lambda tree: with_concept(tree, "rex", other, overwrite=True))
    data = collect(repo)
    assert [column.current for column in data.columns] == [False, True]
    assert data.columns[0].id != data.columns[1].id


def test_a_commit_that_changed_nothing_is_no_row(repo):
    making.add(repo, "rex")
    head = repo.resolve("HEAD")
    same = repo.objects.put(replace(repo.commit_of(head), parents=(head,), message="again", record=None))
    repo.move_ref("refs/heads/main", head, same, author="ann", time=1, message="again")
    data = collect(repo)
    assert [row.subject for row in data.rows] == ["add rex"]
    assert data.head.subject == "again"


def test_drift_comes_from_records_and_is_zero_at_birth(repo):
    making.add(repo, "rex")
    record(repo, "tom", {"drift": {"rex": 0.03, "tom": "much"}, "overlap": {}})
    data = collect(repo)
    rex, tom = (column.id for column in data.columns)
    assert data.drift == {(data.rows[0].id, rex): 0.0, (data.rows[1].id, rex): 0.03, (data.rows[1].id, tom): 0.0}


def test_drift_that_was_evaluated_goes_before_what_was_recorded(repo):
    making.add(repo, "rex")
    record(repo, "tom", {"drift": {"rex": 0.03}})
    tree, rex = repo.commit_of(repo.resolve("HEAD")).tree, repo.tree_of("HEAD").concepts["rex"]
    repo.add_evaluation(Evaluation(tree, rex, "rex", {"kind": "kv-drift"}, "k", {"drift": 0.5}))
    since = {"kind": "kv-drift", "baseline": "f" * 64}
    repo.add_evaluation(Evaluation(tree, rex, "rex", since, "l", {"drift": 0.9}))
    data = collect(repo)
    assert data.drift[data.head.id, rex] == 0.5


def test_a_recorded_overlap_is_turned_round_by_the_sizes(repo):
    record(repo, "rex", {"metrics": {"neurons": 100}})
    record(repo, "tom", {"metrics": {"neurons": 50}, "overlap": {"rex": 0.4}})
    assert collect(repo).overlap == {(1, 0): 0.4, (0, 1): 0.2}


def test_an_overlap_that_was_not_recorded_is_counted_from_the_masks(repo):
    from cns import codec

    masks = {"rex": [0, 1, 2, 3], "tom": [2, 3]}
    for name, places in masks.items():
        delta = {"m": codec.SparseDelta((4, 4), np.array(places, np.int64), np.ones(len(places), np.int16), -8)}
        mask, steps = codec.encode(delta)
        blobs = {"mask": repo.objects.put(making.Blob(mask)), "delta": repo.objects.put(making.Blob(steps))}
        making.add(repo, name, **blobs)
    assert collect(repo).overlap == {(0, 1): 0.5, (1, 0): 1.0}


def test_masks_that_cannot_be_read_leave_the_overlap_open(repo):
    two(repo)
    data = collect(repo)
    assert data.overlap == {}
    assert data.warnings


def test_the_graph_holds_every_branch_and_tag(repo):
    making.add(repo, "rex")
    repo.create_branch("dev")
    repo.create_tag("v1")
    making.add(repo, "tom")
    data = collect(repo, "HEAD~1")
    assert [commit.subject for commit in data.graph] == ["add tom", "add rex", "init"]
    assert data.graph[1].refs == ("dev", "tag: v1")
    assert data.head.id == data.graph[1].id


def test_limits_are_those_of_a_check(repo):
    making.add(repo, "rex")
    assert collect(repo).max_drop == {"identity": 0.02, "clip_i": 0.02}
    repo.set_config("check.max-drop", 0.3)
    assert collect(repo).max_drop == {"identity": 0.3, "clip_i": 0.3}


def test_a_base_of_an_unknown_family_is_reported_all_the_same(tmp_path):
    base = making.base("other")
    repo = Repository.init(tmp_path, base, {"base.source": "x"}, author="ann", time=1)
    making.add(repo, "rex")
    assert collect(repo).family == "other"


def test_an_empty_model_is_no_error(repo):
    data = collect(repo)
    assert data.columns == ()
    assert data.outcome == "kept"


def test_what_the_bounds_cut_off_is_said(repo, monkeypatch):
    """A lineage longer and wider than the page: the newest is kept."""
    for bound, size in (("MAX_ROWS", 4), ("MAX_COLUMNS", 3), ("MAX_GRAPH", 5)):
        monkeypatch.setattr(module, bound, size)
    for number in range(6):
        making.add(repo, f"c{number}")
    data = collect(repo)
    assert [row.subject for row in data.rows] == ["add c2", "add c3", "add c4", "add c5"]
    assert [column.name for column in data.columns] == ["c3", "c4", "c5"]
    assert [commit.subject for commit in data.graph] == [f"add c{number}" for number in (5, 4, 3, 2, 1)]
    assert len(data.left_out) == 3


def record(repo: Repository, name: str, data: dict[str, Any]) -> None:
    """Commit a concept with a record of one's own."""
    concept = making.put_concept(repo.objects, name, repo.commit_of(repo.resolve("HEAD")).tree)
    change(repo, "add", lambda tree: with_concept(tree, name, concept), making.Record(data))


def change(repo: Repository, kind: str, how: Any, recorded: Any = None) -> None:
    when = repo.commit_of(repo.resolve("HEAD")).time + 60
    head = repo.resolve("HEAD")
    repo.commit(kind=kind, message=kind, author="ann", time=when, record=recorded, change=how, seen=head, keep_as="x")


def spoil(repo: Repository, object_id: str | None) -> None:
    """Flip a bit in the middle of an object's file."""
    assert object_id is not None
    path = repo.objects.path(object_id)
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


def test_a_concept_is_an_object_with_references(repo):
    making.add(repo, "rex")
    column = collect(repo).columns[0]
    concept = repo.objects.get(column.id, Concept)
    assert column.phrase == "<rex> dog"
    assert (column.references, column.photos_kept) == (2, True)
    assert column.birth_tree != concept.trained_on
