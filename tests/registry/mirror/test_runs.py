"""What a commit looks like in MLflow, without MLflow."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import canonical
from registry.errors import RegistryError, UnknownFormat
from registry.mirror import runs
from registry.mirror.runs import Figures, MoveLog
from registry.objects import Blob, Commit, Concept, Record, Tree
from registry.refs import ALIASES, HEADS, TAGS
from registry.repository import Repository
from tests.registry.making import AUTHOR, DIGEST, OTHER, MemoryStore, add, put_concept


def test_one_concept_has_readable_files(repository: Repository) -> None:
    done = add(repository, "rex")
    files = runs.commit_files(repository.objects, done.id).read(repository.objects)
    concept = repository.concepts(repository.tree_of(done.id))["rex"]
    assert files["commit.json"] == done.commit.payload()
    assert files["concept.json"] == concept.payload()
    assert files["mask.safetensors"] == repository.objects.get(concept.mask, Blob).data
    assert files["delta.safetensors"] == repository.objects.get(concept.delta, Blob).data
    assert {"tree.json", "record.json", "embedding.safetensors", "references.json", "references.safetensors"} <= set(
        files
    )
    assert "previews/sheet.png" in files
    assert "base.json" not in files  # its parent brought it


def test_several_concepts_have_a_folder_each(repository: Repository) -> None:
    tree = repository.commit_of(repository.head().commit).tree
    both = {name: put_concept(repository.objects, name, tree) for name in ("rex", "tom")}
    new = repository.objects.put(Tree(repository.tree_of("HEAD").base, both))
    commit = Commit(new, (repository.head().commit,), None, "import", "", AUTHOR, 5)
    files = runs.commit_files(repository.objects, repository.objects.put(commit)).read(repository.objects)
    assert {"concepts/rex/mask.safetensors", "concepts/tom/mask.safetensors"} <= set(files)
    assert "record.json" not in files


def test_commits_together_hold_everything(repository: Repository, tmp_path: Path) -> None:
    for name in ("rex", "tom"):
        add(repository, name)
    other = MemoryStore()
    for number, (commit_id, _) in enumerate(repository.log()):
        folder = write(
            tmp_path / str(number), runs.commit_files(repository.objects, commit_id).read(repository.objects)
        )
        assert commit_id in runs.read_files(folder, other, [])
    assert list(other.ids()) == list(repository.objects.ids())
    assert all(other.read(known) == repository.objects.read(known) for known in other.ids())


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_previews_may_be_named_anyhow(repository: Repository) -> None:
    pictures = {"../x/ü": b"\xff\xd8\xffjpeg", "b": b"RIFFwebp", "c": b"else"}
    blobs = {name: repository.objects.put(Blob(data)) for name, data in pictures.items()}
    nested = {"deep": [blobs["b"], {"a": blobs["c"], "n": 5}], "../x/ü": blobs["../x/ü"]}
    record = repository.objects.put(Record({"previews": nested}))
    tree = repository.commit_of(repository.head().commit).tree
    commit = Commit(tree, (repository.head().commit,), record, "import", "", AUTHOR, 5)
    files = runs.commit_files(repository.objects, repository.objects.put(commit)).read(repository.objects)
    shown = {name for name in files if name.startswith("previews/")}
    assert shown == {"previews/___x__.jpg", "previews/deep-0.webp", "previews/deep-1-a.bin"}


def test_two_objects_never_share_a_file(repository: Repository) -> None:
    blobs = [repository.objects.put(Blob(data)) for data in (b"one", b"two")]
    record = repository.objects.put(Record({"previews": {"a b": blobs[0], "a_b": blobs[1]}}))
    tree = repository.commit_of(repository.head().commit).tree
    commit = Commit(tree, (repository.head().commit,), record, "import", "", AUTHOR, 5)
    files = runs.commit_files(repository.objects, repository.objects.put(commit)).read(repository.objects)
    listed = canonical.decode(files["objects.json"])["objects"]
    assert len({entry["path"] for entry in listed.values()}) == len(listed) == len(files) - 1
    assert listed[blobs[1]]["path"] == f"objects/{blobs[1]}.blob"


def test_damaged_file_is_named_and_not_believed(repository: Repository, tmp_path: Path) -> None:
    done = add(repository, "rex")
    files = runs.commit_files(repository.objects, done.id).read(repository.objects)
    for number, (name, data) in enumerate(
        [("mask.safetensors", b"x"), ("tree.json", b"{}"), ("mask.safetensors", None)]
    ):
        changed = {**files, name: data} if data is not None else {k: v for k, v in files.items() if k != name}
        damaged: list[str] = []
        store = MemoryStore()
        whole = runs.read_files(write(tmp_path / str(number), changed), store, damaged)
        assert len(damaged) == 1
        assert name in damaged[0]
        assert len(whole) == len(files) - 2, "all others are taken"
        assert set(whole) <= set(store.ids())


@pytest.mark.parametrize("manifest", [{"format": 2}, {}, [], {"format": None}])
def test_newer_manifest_is_refused(tmp_path: Path, manifest: Any) -> None:
    folder = write(tmp_path, {"objects.json": canonical.encode(manifest)})
    with pytest.raises(UnknownFormat):
        runs.read_files(folder, MemoryStore(), [])


@pytest.mark.parametrize(
    "content",
    [
        b"no json",
        b'{"format":1,"objects":{"x":5}}',
        b'{"format":1,"objects":{"x":{"kind":"blob"}}}',
        b'{"format":1,"objects":{"x":{"kind":"blob","path":"../../secret"}}}',
        b'{"format":1,"objects":{"x":{"kind":"hologram","path":"file"}}}',
    ],
)
def test_broken_manifest_is_corrupt(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = write(tmp_path / "a" / "b", {"objects.json": content, "file": b"x"})
    store = MemoryStore()
    damaged: list[str] = []
    try:
        runs.read_files(folder, store, damaged)
    except RegistryError as error:
        damaged.append(error.message)
    assert len(damaged) == 1
    assert list(store.ids()) == []


def test_folder_without_manifest_holds_nothing(tmp_path: Path) -> None:
    assert runs.read_files(tmp_path, MemoryStore(), []) == []


def test_figures_are_what_mlflow_takes() -> None:
    figures = Figures().add(
        {"lr": 1e-4, "names": ["a"], "long": "x" * 9000, "a/b:c": True},
        {"clip_i": 1, "flag": True, "text": "x", "../..": 0.5},
        {"loss": [1, 0.5, "x"], "other": 5, "sparse": [3, 2, 1], "odd": [3, 2, 1]},
        {"sparse": [0, 20, 2**80], "odd": [0, 20], "other": 7},
    )
    assert figures.params["lr"] == "0.0001"
    assert figures.params["names"] == '["a"]'
    assert len(figures.params["long"]) == runs.LONGEST_PARAM
    assert figures.params["a_b_c"] == "true"
    assert figures.metrics == {"clip_i": 1.0, "_": 0.5}
    assert figures.series == {
        "loss": [(0, 1.0), (1, 0.5)],
        "sparse": [(0, 3.0), (20, 2.0)],
        "odd": [(0, 3.0), (1, 2.0), (2, 1.0)],
    }
    assert Figures().add(None, 5, []) == Figures()


def test_figures_come_from_the_record(repository: Repository) -> None:
    done = add(repository, "rex")
    figures = runs.figures_of(repository.objects, done.commit)
    assert figures.params == {"lr": "0.0001", "score": "wanda"}
    assert figures.metrics == {"clip_i": 0.5, "identity": 0.79}
    assert figures.series == {"loss": [(0, 1.0), (1, 0.5), (2, 0.25)]}
    first = repository.commit_of(repository.resolve("HEAD~1"))
    assert runs.figures_of(repository.objects, first) == Figures()


def test_tags_name_commit_parents_concepts_and_base(repository: Repository) -> None:
    first = repository.head().commit
    done = add(repository, "rex")
    tags = runs.tags_of(repository.objects, done.id)
    assert tags["cns.commit"] == done.id
    assert tags["cns.parents"] == first
    assert tags["cns.concepts"] == "rex"
    assert tags["cns.base"] == repository.tree_of("HEAD").base
    assert tags["cns.gate"] == "unchecked"
    assert "cns.parents" not in runs.tags_of(repository.objects, first)


@given(st.sets(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}(/[a-z])?", fullmatch=True), max_size=8))
def test_aliases_differ_and_are_allowed(names: set[str]) -> None:
    refs = ["HEAD", *(space + name for name in names for space in (HEADS, TAGS, ALIASES))]
    aliases = {runs.alias_of(ref) for ref in refs}
    assert len(aliases) == len(refs)
    assert all(alias.replace("-", "").replace("_", "").isalnum() and alias.isascii() for alias in aliases)
    assert not {alias for alias in aliases if re.fullmatch(r"(?i)latest|v[0-9]+", alias)}


def test_an_alias_is_mlflows_by_its_own_name() -> None:
    assert runs.alias_of(ALIASES + "champion_2-eu") == "champion_2-eu"
    for name, alias in (("latest", "alias-latest"), ("a.b", "alias-a_2eb"), ("branch-main", "alias-branch-main")):
        assert runs.alias_of(ALIASES + name) == alias  # of another's registry; here nobody can make one


def version(number: int, commit: str = DIGEST, **tags: str) -> Any:
    return SimpleNamespace(version=number, tags={"cns.commit": commit, **tags})


def test_move_counts_only_from_the_value_that_it_saw(tmp_path: Path) -> None:
    main = HEADS + "main"
    log = MoveLog().extended(
        [
            version(1, ref=main, old="", new=DIGEST),
            version(2, ref="HEAD", old="", new=f"ref: {main}"),
            version(3, OTHER, ref=main, old=DIGEST, new=OTHER),
            version(4, "c" * 64, ref=main, old=DIGEST, new="c" * 64),  # lost the race
            version(5, OTHER),
            version(6, ref=TAGS + "v1", old="", new=DIGEST),
            version(7, ref=TAGS + "v1", old=DIGEST, new=""),
        ]
    )
    assert log.refs == {main: OTHER, "HEAD": f"ref: {main}"}
    assert log.last == 7
    assert log.commit_of("HEAD") == OTHER
    assert log.commit_of(TAGS + "v1") is None
    log.save(tmp_path / "cache" / "log.json", "key")
    kept = MoveLog.cached(tmp_path / "cache" / "log.json", "key")
    assert (kept.refs, kept.last, kept.versions) == (log.refs, 7, {OTHER: "5"})
    assert MoveLog.cached(tmp_path / "cache" / "log.json", "other key") == MoveLog()


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"[]", b'{"format":1,"key":"key"}', b'{"format":1,"key":"key","last":"x","refs":5,"versions":{}}'],
)
def test_broken_cache_is_no_cache(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log.json").write_bytes(content)
    assert MoveLog.cached(tmp_path / "log.json", "key") == MoveLog()


def test_what_is_kept_of_a_concept_is_enough(repository: Repository) -> None:
    done = add(repository, "rex")
    own = runs.own_objects(repository.objects, done.id)
    concept = repository.objects.get(repository.tree_of(done.id).concepts["rex"], Concept)
    assert {concept.mask, concept.delta, concept.embedding, concept.references} <= own.keys()
    assert concept.trained_on not in own  # the parent's tree
