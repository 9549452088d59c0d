"""R3, quick: 200 power cuts on a simulated disk. `nox -s torture -- R3 --size full` makes 5,000."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry import fsio
from tests.torture.disk import Disk
from tests.torture.powerloss import campaign, in_place_of_the_system, killed_and_cut


def test_nothing_acknowledged_is_lost_in_a_power_cut() -> None:
    tried, violated = campaign(200)
    assert violated == ""
    assert tried >= 200


@pytest.mark.parametrize("deaf", [("file",), ("folder",)])
def test_disk_that_ignores_fsync_is_caught(deaf: tuple[str, ...]) -> None:
    """The positive control: the same campaign, and a protocol whose fsyncs do nothing."""
    _, violated = campaign(50, frozenset(deaf))
    assert violated


@pytest.mark.parametrize("operation", ["branch and tag", "scores", "checkout a commit", "merge commit", "undo"])
def test_what_a_killed_process_left_unsynced_is_not_relied_on(operation: str) -> None:
    tried, violated = killed_and_cut(operation)
    assert violated == []
    assert tried >= 10


class TestDisk:
    """The simulated disk forgets what POSIX lets it forget, and nothing else."""

    def test_synced_file_in_a_synced_folder_stays(self, tmp_path: Path) -> None:
        disk = Disk(tmp_path)
        with in_place_of_the_system(disk):
            fsio.replace(tmp_path / "file", b"new")
        disk.after_power_cut(len(disk.events), "nothing unsynced", 0)
        assert (tmp_path / "file").read_bytes() == b"new"

    def test_name_that_was_not_synced_goes_with_its_file(self, tmp_path: Path) -> None:
        disk = Disk(tmp_path, frozenset({"folder"}))
        with in_place_of_the_system(disk):
            fsio.replace(tmp_path / "file", b"new")
        disk.after_power_cut(len(disk.events), "nothing unsynced", 0)
        assert not list(tmp_path.iterdir())

    def test_content_that_was_not_synced_is_lost_under_a_name_that_was(self, tmp_path: Path) -> None:
        disk = Disk(tmp_path, frozenset({"file"}))
        with in_place_of_the_system(disk):
            fsio.replace(tmp_path / "file", b"new")
        disk.after_power_cut(len(disk.events), "nothing unsynced", 0)
        assert (tmp_path / "file").read_bytes() == b""

    def test_writes_are_torn(self, tmp_path: Path) -> None:
        left = set()
        for seed in range(40):
            folder = tmp_path / str(seed)
            folder.mkdir()
            disk = Disk(folder, frozenset({"file"}))
            with in_place_of_the_system(disk):
                fsio.append(folder / "log", b"a line\n")
            disk.after_power_cut(len(disk.events), "names only", seed)
            left.add((folder / "log").read_bytes())
        assert len(left) > 5

    def test_kill_loses_nothing_and_syncs_nothing(self, tmp_path: Path) -> None:
        disk = Disk(tmp_path, frozenset({"folder"}))
        with in_place_of_the_system(disk):
            fsio.replace(tmp_path / "file", b"new")
        disk.after_kill(len(disk.events))
        assert (tmp_path / "file").read_bytes() == b"new"
        disk.after_power_cut(0, "nothing unsynced", 0)
        assert not list(tmp_path.iterdir())

    def test_threads_do_not_mix_up_the_numbers_of_their_files(self, tmp_path: Path) -> None:
        disk = Disk(tmp_path)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with in_place_of_the_system(disk), ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda name: fsio.replace(tmp_path / str(name), b"%d" % name), range(200)))
        finally:
            sys.setswitchinterval(interval)
        disk.after_kill(len(disk.events))
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {str(n): str(n) for n in range(200)}
