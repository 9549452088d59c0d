"""Whatever is damaged is found, and what is found says where, what needs it, and what to do."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import bisect_state, envelope
from registry.errors import UnknownFormat
from registry.health.findings import Finding, Findings
from registry.health.fsck import fsck
from registry.objects import Blob, Commit, Concept, Evaluation, References, Tree, object_id
from registry.pending import Pending
from registry.reflog import ReflogEntry
from registry.refs import EVALUATIONS, HEADS, LOST, check_line
from registry.repository import Repository
from tests.registry.making import AUTHOR, DIGEST, add, evaluation, put_concept, snapshot

MAIN = HEADS + "main"


@pytest.fixture
def lineage(repository: Repository) -> Repository:
    """Two concepts, scores of one, a tag and an index."""
    add(repository, "rex")
    repository.add_evaluation(evaluation(repository, "rex"))
    repository.create_tag("v1", time=0)
    add(repository, "tom")
    repository.index.rebuild([repository.head().commit])
    return repository


def report(repository: Repository) -> Findings:
    return fsck(repository.folder)[0]


def errors(repository: Repository) -> list[Finding]:
    return [finding for finding in report(repository).findings if finding.level == "error"]


def codes(repository: Repository) -> set[str]:
    return {finding.code for finding in report(repository).findings}


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def flip(path: Path, bit: int = 77) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    overwrite(path, bytes(content))


def rex(repository: Repository) -> Concept:
    return repository.concepts(repository.tree_of("HEAD"))["rex"]


def test_whole_registry_has_no_finding_and_is_left_alone(lineage: Repository) -> None:
    def stamps() -> dict[Path, tuple[int, bytes]]:
        files = (path for path in lineage.folder.rglob("*") if path.is_file())
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before = stamps()
    found = report(lineage)
    assert found.findings == []
    assert not found.damaged
    assert found.objects["commit"] == 3
    assert found.objects["evaluation"] == 1
    assert (found.refs, found.reflog_entries) == (3, 7)
    assert found.bytes == sum(path.stat().st_size for path in (lineage.folder / "objects").rglob("*") if path.is_file())
    assert stamps() == before


@pytest.mark.parametrize("part", ["mask", "delta", "embedding"])
def test_damaged_part_of_a_concept_names_who_needs_it(lineage: Repository, part: str) -> None:
    wanted = getattr(rex(lineage), part)
    flip(lineage.objects.path(wanted))
    (found,) = errors(lineage)
    assert (found.code, found.object_id, found.kind) == ("object-corrupt", wanted, "blob")
    assert f"the {part} of rex" in found.what
    assert found.path == f"objects/{wanted[:2]}/{wanted[2:]}"
    assert found.reach.concepts == ("rex",)
    assert set(found.reach.commits) == {lineage.resolve("HEAD"), lineage.resolve("HEAD~1")}
    assert {MAIN, "refs/tags/v1", "HEAD"} <= set(found.reach.refs)
    assert f"copy .cns/{found.path}" in found.fix


def test_missing_object_is_found_by_what_needs_it(lineage: Repository) -> None:
    wanted = rex(lineage).references
    lineage.objects.path(wanted).unlink()
    (found,) = errors(lineage)
    assert (found.code, found.object_id, found.kind) == ("object-missing", wanted, "references")
    assert "the references of rex" in found.what
    assert found.reach.commit_count == 2


def test_every_kind_of_object_can_be_missing(lineage: Repository) -> None:
    for wanted in list(lineage.objects.ids()):
        path = lineage.objects.path(wanted)
        content = path.read_bytes()
        path.unlink()
        found = errors(lineage)
        assert wanted in {finding.object_id for finding in found}
        assert all(finding.fix for finding in found)
        path.write_bytes(content)
    assert errors(lineage) == []


def test_damaged_commit_reaches_its_descendants_and_a_model_does_not(lineage: Repository) -> None:
    first, second, third = (lineage.resolve(f"HEAD~{n}") for n in (2, 1, 0))
    path = lineage.objects.path(first)
    content = path.read_bytes()
    flip(path)
    (found,) = errors(lineage)
    assert set(found.reach.commits) == {first, second, third}
    overwrite(path, content)
    flip(lineage.objects.path(lineage.commit_of(second).record or ""))
    (found,) = errors(lineage)
    assert found.reach.commits == (second,)
    assert "record" in found.what
    assert found.reach.refs.count("HEAD") == 1


def test_that_a_concept_was_trained_beside_a_damaged_one_is_no_harm_to_it(lineage: Repository) -> None:
    add(lineage, "pip")
    flip(lineage.objects.path(lineage.concepts(lineage.tree_of("HEAD"))["tom"].delta))
    (found,) = errors(lineage)
    assert found.reach.concepts == ("tom",)


def test_many_commits_are_counted_and_twenty_are_listed(repository: Repository) -> None:
    for number in range(25):
        add(repository, f"c{number}")
    flip(repository.objects.path(repository.tree_of("HEAD").base))
    (found,) = [finding for finding in errors(repository) if finding.code == "object-corrupt"]
    assert found.reach.commit_count == 26
    assert len(found.reach.commits) == 20
    assert len(found.reach.concepts) == 25


def test_what_nothing_needs_is_information(lineage: Repository) -> None:
    loose = lineage.objects.put(Blob(b"loose"))
    lost = put_concept(lineage.objects, "pip", lineage.commit_of(lineage.head().commit).tree)
    found = report(lineage)
    assert not found.damaged
    assert {(finding.code, finding.object_id) for finding in found.findings} == {
        ("dangling", loose),
        ("dangling", lost),
    }
    lineage.objects.path(lineage.objects.get(lost, Concept).mask).unlink()
    (told,) = [finding for finding in report(lineage).findings if finding.object_id == lost]
    assert told.level == "info"
    assert "something that it needs is gone" in told.what


def test_damaged_object_that_nothing_needs_is_an_error_with_its_own_way_out(lineage: Repository) -> None:
    flip(lineage.objects.path(lineage.objects.put(Blob(b"loose"))))
    (found,) = errors(lineage)
    assert found.fix == "cns gc --prune now"
    assert found.reach.commit_count == 0


def test_object_of_another_kind_than_needed_is_an_error(lineage: Repository) -> None:
    tree = lineage.tree_of("HEAD")
    wrong = lineage.objects.put(Tree(lineage.commit_of(lineage.head().commit).tree, tree.concepts))
    commit = lineage.objects.put(Commit(wrong, (lineage.head().commit,), None, "add", "wrong", AUTHOR, 5))
    lineage.refs.compare_and_swap(LOST + "x", None, commit)
    (found,) = errors(lineage)
    assert found.code == "object-wrong-kind"
    assert "is a tree: expected a base" in found.what


def test_ref_to_what_is_no_commit_or_not_there(lineage: Repository) -> None:
    lineage.refs.overwrite(HEADS + "blob", rex(lineage).mask)
    lineage.refs.overwrite(HEADS + "gone", DIGEST)
    found = {finding.path: finding for finding in errors(lineage) if finding.code == "ref-dangling"}
    assert "which is a blob: expected a commit" in found["refs/heads/blob"].what
    assert "which is not in the store" in found["refs/heads/gone"].what


def test_evaluation_under_another_name_is_an_error(lineage: Repository) -> None:
    (name,) = lineage.refs.names(EVALUATIONS)
    other = name.rpartition("/")[0] + "/" + DIGEST
    lineage.refs.overwrite(other, name.rpartition("/")[2])
    assert {finding.code for finding in errors(lineage)} == {"ref-corrupt"}


@pytest.mark.parametrize("name", [MAIN, "refs/tags/v1", "HEAD"])
def test_damaged_ref_is_named_and_its_value_can_come_from_the_reflog(lineage: Repository, name: str) -> None:
    path = lineage.folder / name
    flip(path)
    found = errors(lineage)
    assert {(finding.code, finding.path) for finding in found} == {
        ("head-corrupt" if name == "HEAD" else "ref-corrupt", name)
    }
    assert "cns fsck --rebuild" in found[0].fix
    shutil.rmtree(lineage.folder / "logs")
    assert errors(lineage)[0].fix == "cns mlflow restore"


def test_head_that_is_gone_or_on_a_branch_that_is_gone(lineage: Repository) -> None:
    path = lineage.folder / "HEAD"
    content = path.read_bytes()
    path.unlink()
    assert "head-missing" in codes(lineage)
    path.write_bytes(content)
    lineage.refs.path(MAIN).unlink()
    assert "head-dangling" in codes(lineage)
    overwrite(path, check_line("HEAD", f"commit: {DIGEST}"))
    assert "ref-dangling" in codes(lineage)


def test_detached_head_is_no_fault(lineage: Repository) -> None:
    lineage.checkout("HEAD~1", time=0)
    assert report(lineage).findings == []


def test_damaged_line_of_a_reflog_is_named_with_its_number(lineage: Repository) -> None:
    path = lineage.reflogs.path(MAIN)
    lines = path.read_bytes().splitlines(keepends=True)
    overwrite(path, lines[0] + lines[1].replace(b"add rex", b"add Rex") + lines[2])
    (found,) = errors(lineage)
    assert found.code == "reflog-damaged"
    assert "in line 2" in found.what


def test_torn_end_of_a_reflog_is_a_warning_only_where_the_ref_agrees(lineage: Repository) -> None:
    path = lineage.reflogs.path(MAIN)
    content = path.read_bytes()
    overwrite(path, content + content.splitlines()[-1][:40])
    (found,) = report(lineage).findings
    assert (found.level, found.code) == ("warning", "reflog-torn")
    overwrite(path, content + b"\0" * 40 + content.splitlines(keepends=True)[-1][40:])
    (found,) = report(lineage).findings
    assert (found.level, found.code) == ("warning", "reflog-torn")
    overwrite(path, content[:-1])
    assert {finding.code for finding in errors(lineage)} == {"reflog-behind"}
    overwrite(path, content[:-1] + b"x")
    assert {finding.code for finding in errors(lineage)} == {"reflog-damaged", "reflog-behind"}
    overwrite(path, b"".join(content.splitlines(keepends=True)[:-1]))
    assert {finding.code for finding in errors(lineage)} == {"reflog-behind"}
    overwrite(path, b"")
    assert {finding.code for finding in errors(lineage)} == {"reflog-behind"}


def test_move_that_never_came_is_no_fault(lineage: Repository) -> None:
    head = lineage.head().commit
    lineage.reflogs.append("HEAD", ReflogEntry(head, lineage.resolve("HEAD~1"), "", 0, "killed before the ref moved"))
    assert report(lineage).findings == []


def test_commit_that_only_a_reflog_names_is_missed(lineage: Repository) -> None:
    lineage.move_ref(MAIN, lineage.head().commit, lineage.resolve("HEAD~1"), author="", time=0, message="back")
    gone = lineage.resolve("HEAD@{1}")
    assert codes(lineage) == set()
    lineage.objects.path(gone).unlink()
    found = [finding for finding in errors(lineage) if finding.code == "reflog-dangling"]
    assert {finding.path for finding in found} == {"logs/HEAD", "logs/refs/heads/main"}
    assert all(finding.object_id == gone for finding in found)


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"cns registry one\n", b"cns registry 1", b"\xff\x00"])
def test_damaged_format_file_is_found(lineage: Repository, content: bytes | None) -> None:
    path = lineage.folder / "format"
    path.unlink() if content is None else path.write_bytes(content)
    (found,) = errors(lineage)
    assert (found.code, found.path, found.fix) == ("format-damaged", "format", "cns fsck --rebuild")


def test_newer_registry_is_refused_untouched(lineage: Repository) -> None:
    (lineage.folder / "format").write_bytes(b"cns registry 2\n")
    before = snapshot(lineage)
    with pytest.raises(UnknownFormat):
        fsck(lineage.folder)
    assert snapshot(lineage) == before


def test_newer_object_is_told_apart_from_damage(lineage: Repository) -> None:
    payload = Tree(DIGEST, {}).payload()[:-1] + b',"more":1}'
    wanted = object_id("tree", payload)
    lineage.objects.path(wanted).write_bytes(envelope.seal("tree", payload))
    (found,) = errors(lineage)
    assert found.code == "object-unknown-format"
    assert "more" in found.what


def test_settings_that_are_no_toml(lineage: Repository) -> None:
    (lineage.folder / "config.toml").write_text("[base\n")
    assert codes(lineage) == {"config-damaged"}


def test_stray_and_temporary_files_are_information(lineage: Repository) -> None:
    for name in ("objects/README", "objects/ab/zz", "refs/heads/NOTES", "refs/heads/a..b", "refs/heads/sub/main"):
        path = lineage.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    for name in ("objects/ab/.tmp-1-2", "refs/heads/.tmp-1-2", "logs/.tmp-1-2"):
        (lineage.folder / name).write_text("x")
    found = report(lineage)
    assert not found.damaged
    assert sorted(finding.code for finding in found.findings) == ["stray"] * 5 + ["temporary"] * 3


def test_what_is_no_regular_file_is_found_and_not_read(lineage: Repository) -> None:
    os.mkfifo(lineage.folder / "objects" / "ab" / ("0" * 62))
    (lineage.folder / "refs" / "heads" / "loop").symlink_to("loop")
    assert [finding.code for finding in errors(lineage)] == ["unreadable", "unreadable"]


def test_folder_in_the_place_of_an_object(lineage: Repository) -> None:
    wanted = rex(lineage).mask
    lineage.objects.path(wanted).unlink()
    lineage.objects.path(wanted).mkdir()
    assert {finding.object_id for finding in errors(lineage)} == {wanted}


@pytest.mark.parametrize("name", ["logs/refs/heads/main", "logs/HEAD", "format", "HEAD", "config.toml", "lock"])
def test_folder_in_the_place_of_a_file_is_named(lineage: Repository, name: str) -> None:
    path = lineage.folder / name
    path.unlink(missing_ok=True)
    path.mkdir()
    assert name in {finding.path for finding in errors(lineage)}


def test_file_in_the_place_of_a_folder_is_named(lineage: Repository) -> None:
    shutil.rmtree(lineage.folder / "refs" / "tags")
    (lineage.folder / "refs" / "tags").write_text("x")
    assert "refs/tags" in {finding.path for finding in errors(lineage)}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folder_that_cannot_be_listed(lineage: Repository) -> None:
    folder = lineage.folder / "refs" / "tags"
    folder.chmod(0)
    assert "unreadable" in codes(lineage)
    folder.chmod(0o755)


def test_state_of_something_in_progress_keeps_what_it_names(lineage: Repository) -> None:
    loose = lineage.objects.put(Blob(b"loose"))
    (lineage.folder / "later").mkdir()
    (lineage.folder / "later" / "state.json").write_text(f'{{"wanted": "{loose}", "other": "{DIGEST}"}}')
    found = report(lineage).findings
    assert [(finding.level, finding.code, finding.path) for finding in found] == [
        ("info", "in-progress", "later/state.json")
    ]


def test_damaged_bisection_is_an_error_and_a_damaged_resume_state_a_warning(lineage: Repository) -> None:
    bisect_state.save(lineage.folder, bisect_state.BisectState("main", lineage.head().commit))
    Pending(lineage.folder).save("rex", "ab" * 4, {"parent": lineage.head().commit}, b"state")
    assert [(finding.level, finding.code) for finding in report(lineage).findings] == [("info", "in-progress")] * 2
    for path in (lineage.folder / "bisect.json", *(lineage.folder / "resume").iterdir()):
        path.write_bytes(path.read_bytes().replace(b'"', b"'", 1))
    found = [finding for finding in report(lineage).findings if finding.code == "state-damaged"]
    assert {(finding.level, finding.path.split("/")[0]) for finding in found} == {
        ("error", "bisect.json"),
        ("warning", "resume"),
    }
    assert all(finding.fix for finding in found)


def spoil(change: Callable[[sqlite3.Connection], object]) -> Callable[[Path], object]:
    def run(path: Path) -> None:
        with sqlite3.connect(path) as connection:
            change(connection)
        connection.close()

    return run


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda path: path.unlink(), None),
        (lambda path: path.write_bytes(b"garbage" * 1000), "index-damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "index-damaged"),
        (lambda path: path.write_bytes(b""), "index-empty"),
        (spoil(lambda db: db.execute("UPDATE commits SET payload = x'00'")), "index-damaged"),
        (spoil(lambda db: db.execute("DELETE FROM introduced")), "index-damaged"),
        (spoil(lambda db: db.execute("DELETE FROM commits WHERE instr(payload, 'init')")), "index-damaged"),
        (spoil(lambda db: db.execute("DROP TABLE introduced")), "index-empty"),
    ],
    ids=["deleted", "garbage", "truncated", "empty", "payloads", "introduced", "parents", "table"],
)
def test_index_is_compared_with_the_objects(
    lineage: Repository, change: Callable[[Path], object], code: str | None
) -> None:
    lineage.index.close()
    change(lineage.folder / "index.db")
    assert codes(lineage) == ({code} if code else set())


def test_index_that_is_locked_is_not_called_damaged(lineage: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **more: connect(path, **{**more, "timeout": 0.0}))
    lineage.index.close()
    holder = connect(lineage.folder / "index.db")
    holder.execute("BEGIN EXCLUSIVE")
    assert codes(lineage) == {"index-busy"}
    holder.close()


@pytest.mark.parametrize(("content", "code"), [(b"garbage" * 100, "mirror-damaged"), (b"", "mirror-empty")])
def test_mirror_is_looked_at_as_a_file(lineage: Repository, content: bytes, code: str) -> None:
    (lineage.folder / "mlflow.db").write_bytes(content)
    assert codes(lineage) == {code}
    lineage.set_config("mlflow.tracking_uri", "http://127.0.0.1:9")
    assert codes(lineage) == set()


def test_whole_mirror_has_no_finding_and_is_named_as_a_source(lineage: Repository, mlflow_template: Path) -> None:
    shutil.copy(mlflow_template, lineage.folder / "mlflow.db")
    assert codes(lineage) == set()
    flip(lineage.objects.path(rex(lineage).mask))
    assert errors(lineage)[0].fix.startswith("cns mlflow restore, or copy .cns/objects/")


def test_commit_that_comes_while_it_reads_is_no_damage(lineage: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects are read first; the refs then name a commit that was not there yet, and their logs grow."""
    import registry.health.refs as module

    original = module.references

    def and_a_commit(scan: object) -> None:
        add(Repository(lineage.root), "late")
        original(scan)  # type: ignore[arg-type]
        add(Repository(lineage.root), "later")
        add(Repository(lineage.root), "last")

    monkeypatch.setattr(module, "references", and_a_commit)
    assert report(lineage).findings == []


def test_read_only_registry_can_be_checked(lineage: Repository) -> None:
    lineage.index.close()
    for path in [*lineage.folder.rglob("*"), lineage.folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert report(lineage).findings == []
    finally:
        for path in [lineage.folder, *lineage.folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_references_and_evaluations_are_followed(lineage: Repository) -> None:
    references = lineage.objects.get(rex(lineage).references, References)
    flip(lineage.objects.path(references.images or ""))
    flip(lineage.objects.path(references.features[DIGEST]))
    (name,) = lineage.refs.names(EVALUATIONS)
    flip(lineage.objects.path(name.rpartition("/")[2]))
    found = errors(lineage)
    assert len(found) == 3
    assert {finding.reach.concepts for finding in found} == {("rex",), ()}
    assert any(finding.reach.refs == (name,) for finding in found)
    with pytest.raises(Exception, match="corrupt"):
        lineage.objects.get(name.rpartition("/")[2], Evaluation)
