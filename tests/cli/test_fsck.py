"""`cns fsck`: what it prints, what it exits with, and what it makes again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from registry.health.fsck import fsck
from registry.refs import HEADS, check_line
from registry.repository import Repository
from tests.cli.conftest import modules_after

MAIN = HEADS + "main"


def files(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def spoil(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"x" + path.read_bytes()[1:])


def mask_of(lineage: Any, name: str) -> str:
    return str(lineage.repo.concepts(lineage.repo.tree_of("HEAD"))[name].mask)


def test_whole_registry(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    before = files(lineage.repo.folder)
    result = cns("fsck")
    assert result.exit_code == 0
    assert result.stdout.startswith("read 12 objects (")
    assert result.stdout.endswith("everything is whole\n")
    assert result.stderr == ""
    assert files(lineage.repo.folder) == before


def test_damage_is_named_with_what_needs_it_and_what_to_do(lineage: Any, cns: Any) -> None:
    first = lineage.add("rex").id
    second = lineage.add("tom").id
    mask = mask_of(lineage, "rex")
    spoil(lineage.repo.objects.path(mask))
    before = files(lineage.repo.folder)
    result = cns("fsck")
    assert result.exit_code == 4
    assert f"error  blob {mask[:10]}, the mask of rex, is corrupt" in result.stdout
    assert f"  where:     objects/{mask[:2]}/{mask[2:]}\n" in result.stdout
    for part in ("2 commits (", first[:10], second[:10], "concept rex", "refs/heads/main", "HEAD"):
        assert part in result.stdout
    assert f"  to do:     copy .cns/objects/{mask[:2]}/{mask[2:]} from a clone or a backup\n" in result.stdout
    assert result.stdout.endswith("damaged: 1 error\n")
    assert files(lineage.repo.folder) == before


def test_json_has_a_schema_and_every_fact(lineage: Any, cns: Any) -> None:
    commit = lineage.add("rex").id
    mask = mask_of(lineage, "rex")
    spoil(lineage.repo.objects.path(mask))
    result = cns("fsck", "--json")
    assert result.exit_code == 4
    data = json.loads(result.stdout)
    assert data["schema"] == "cns-fsck/1"
    assert (data["damaged"], data["rebuilt"], data["refs"]) == (True, [], 1)
    (finding,) = data["findings"]
    assert (finding["level"], finding["code"], finding["object_id"]) == ("error", "object-corrupt", mask)
    assert finding["reach"] == {
        "commits": [commit],
        "commit_count": 1,
        "concepts": ["rex"],
        "refs": [MAIN, "HEAD"],
    }


@pytest.mark.parametrize(
    "name", ["HEAD", "format", "config.toml", "refs/heads/main", "logs/HEAD", "index.db", "mlflow.db"]
)
@pytest.mark.parametrize(
    "content", [b"", b"garbage\n", b"\xff\x00" * 300, None], ids=["empty", "text", "bytes", "folder"]
)
def test_works_when_that_is_damaged_which_everything_hangs_on(
    lineage: Any, cns: Any, name: str, content: bytes | None
) -> None:
    lineage.add("rex")
    path = lineage.repo.folder / name
    path.unlink(missing_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    result = cns("fsck")
    harmless = (name, content) in (("config.toml", b""), ("index.db", b""), ("mlflow.db", b""))
    assert result.exit_code == (0 if harmless else 4), result.output
    assert "Traceback" not in result.stderr
    if result.exit_code:
        where = (
            "HEAD" if (name, content) == ("refs/heads/main", None) else name
        )  # HEAD is on a branch that is not there
        assert f"  where:     {where}\n" in result.stdout


def test_without_a_registry(cns: Any) -> None:
    result = cns("fsck")
    assert result.exit_code == 4
    assert "no registry" in result.stderr


class TestRebuild:
    @pytest.fixture
    def kept(self, lineage: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        """A lineage whose MLflow cannot be reached, which spares the seconds that making tables takes."""
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        lineage.add("rex")
        lineage.repo.create_branch("side", time=5)
        lineage.repo.checkout("side", time=6)
        lineage.add("tom")
        return lineage

    def whole(self, lineage: Any) -> bool:
        return not [finding for finding in fsck(lineage.repo.folder)[0].findings if finding.level != "info"]

    @pytest.mark.parametrize("name", ["HEAD", "refs/heads/main", "refs/heads/side", "format"])
    @pytest.mark.parametrize("gone", [False, True])
    def test_names_come_back_from_the_reflog(self, kept: Any, cns: Any, name: str, gone: bool) -> None:
        path = kept.repo.folder / name
        content = path.read_bytes()
        if gone:
            path.unlink()
        else:
            spoil(path)
        if gone and name == "refs/heads/main":
            assert cns("fsck").exit_code == 0, "a branch that is gone and not HEAD's was perhaps deleted"
            return
        assert cns("fsck").exit_code == 4
        result = cns("fsck", "--rebuild")
        assert result.exit_code == 0, result.output
        assert path.read_bytes() == content
        assert self.whole(kept)

    def test_detached_head_comes_back_detached(self, kept: Any, cns: Any) -> None:
        kept.repo.checkout("HEAD~1", time=7)
        at = kept.repo.head().commit
        kept.repo.create_branch("other", "HEAD~1", time=8)
        spoil(kept.repo.folder / "HEAD")
        assert cns("fsck", "--rebuild").exit_code == 0
        assert (kept.repo.head().branch, kept.repo.head().commit) == (None, at)

    def test_reflogs_are_mended(self, kept: Any, cns: Any) -> None:
        path = kept.repo.reflogs.path(HEADS + "side")
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(lines[0] + b"garbage\n")
        assert cns("fsck").exit_code == 4
        result = cns("fsck", "--rebuild")
        assert "mended the reflog of refs/heads/side" in result.stdout
        assert result.exit_code == 0
        assert kept.repo.reflog("side")[0].new == kept.repo.head().commit
        assert self.whole(kept)
        assert kept.repo.reflogs.damaged(HEADS + "side") == []

    def test_commits_come_back_from_the_index(self, kept: Any, cns: Any) -> None:
        kept.repo.index.rebuild([kept.repo.head().commit])
        ids = [kept.repo.resolve(f"HEAD~{n}") for n in range(3)]
        spoil(kept.repo.objects.path(ids[0]))
        kept.repo.objects.path(ids[1]).unlink()
        assert cns("fsck").exit_code == 4
        result = cns("fsck", "--rebuild")
        assert result.exit_code == 0, result.output
        assert result.stdout.count("again from index.db") == 2
        assert self.whole(kept)

    def test_what_has_no_copy_stays_damaged_and_mlflow_is_left_alone(self, kept: Any, cns: Any) -> None:
        spoil(kept.repo.objects.path(mask_of(kept, "rex")))
        (kept.repo.folder / "mlflow.db").write_bytes(b"perhaps a copy")
        result = cns("fsck", "--rebuild")
        assert result.exit_code == 4
        assert "MLflow was left as it is" in result.stdout
        assert (kept.repo.folder / "mlflow.db").read_bytes() == b"perhaps a copy"

    def test_index_is_made_again(self, kept: Any, cns: Any) -> None:
        (kept.repo.folder / "index.db").write_bytes(b"garbage" * 100)
        result = cns("fsck", "--rebuild")
        assert result.exit_code == 0
        assert "made index.db again from the objects" in result.stdout
        assert Repository(kept.repo.root).index.covers(kept.repo.head().commit)

    def test_mlflow_that_is_away_is_a_warning(self, kept: Any, cns: Any) -> None:
        result = cns("fsck", "--rebuild", "--json")
        assert result.exit_code == 0
        assert [finding["code"] for finding in json.loads(result.stdout)["findings"]] == ["mirror-unavailable"]

    def test_head_without_a_reflog_cannot_be_guessed(self, kept: Any, cns: Any) -> None:
        shutil.rmtree(kept.repo.folder / "logs")
        (kept.repo.folder / "HEAD").write_bytes(check_line("HEAD", "ref: refs/heads/nowhere"))
        result = cns("fsck", "--rebuild")
        assert result.exit_code == 4
        assert "to do:     cns mlflow restore" in result.stdout


def test_nothing_heavy_is_loaded_without_need(lineage: Any, tmp_path: Path) -> None:
    lineage.add("rex")
    loaded = modules_after(["fsck"], tmp_path)
    assert not loaded & {"torch", "diffusers", "transformers", "mlflow", "pandas", "numpy", "PIL", "sqlite_utils"}


def test_decoding_needs_numpy_alone(lineage: Any, tmp_path: Path) -> None:
    loaded = modules_after(["fsck", "--read-data", "--json"], tmp_path)
    assert "numpy" in loaded
    assert not loaded & {"torch", "diffusers", "transformers", "mlflow", "pandas", "PIL", "sqlite_utils"}
