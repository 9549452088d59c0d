"""`cns bisect` as it is typed: git's protocol, where HEAD goes, and what becomes of it when things go wrong."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from registry import bisect_state
from registry.bisect_state import BisectDamaged
from tests.cli.conftest import ROOT, Lineage
from tests.registry.test_crash import steps

NAMES = ("rex", "tom", "mug", "pip", "ann", "bob", "cat")


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the waiting for the disk, which no test here can see."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def commits(lineage: Lineage) -> dict[str, str]:
    """Seven concepts on main; mug is the harmful one. Name -> the commit that added it; "" is the first commit."""
    first = lineage.repo.head().commit
    return {"": first} | {name: lineage.add(name).id for name in NAMES}


def said(result: Any) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def program(folder: Path, body: str) -> list[str]:
    """A program that looks at the registry: `names` are the concepts of HEAD."""
    path = folder / "looks.py"
    path.write_text(
        f"import os, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\nfrom registry.repository import Repository\n"
        "repo = Repository.discover(Path.cwd()); names = set(repo.tree_of('HEAD').concepts)\n" + body
    )
    return [sys.executable, str(path)]


def test_by_hand_until_the_first_bad_commit(lineage: Lineage, cns: Any, commits: dict[str, str]) -> None:
    cns("bisect", "start")
    assert "waiting for a good commit" in cns("bisect", "bad").stdout
    found = said(cns("bisect", "good", "HEAD~6", "--json"))
    asked = []
    while found["status"] == "testing":
        head = lineage.repo.head()
        assert (head.branch, head.commit) == (None, found["commit"]["id"])
        asked.append(head.commit)
        bad = "mug" in lineage.repo.tree_of(head.commit).concepts
        found = said(cns("bisect", "bad" if bad else "good", "--json"))
    assert found["status"] == "found"
    assert found["commit"]["id"] == commits["mug"]
    assert (found["added"], found["removable"]) == (["mug"], ["mug"])
    assert len(asked) <= math.ceil(math.log2(6))


def test_what_was_found_is_said_with_the_next_commands(lineage: Lineage, cns: Any, commits: dict[str, str]) -> None:
    cns("bisect", "start", commits["tom"], commits["rex"])
    result = cns("bisect", "bad", commits["tom"])
    assert result.stdout == (
        f"first bad commit: {commits['tom'][:10]} add tom\n"
        "kind    add\nconcept tom (added)\nauthor  ann\ndate    2026-05-28 20:28 UTC\n"
    )
    for command in (f"cns show {commits['tom'][:10]}", "cns bisect reset", "cns rm tom"):
        assert f"next: {command}" in result.stderr


def test_start_takes_bad_and_good_and_sends_head_to_the_middle(lineage: Lineage, cns: Any, commits: Any) -> None:
    result = cns("bisect", "start", "HEAD", commits["rex"])
    assert lineage.repo.head().branch is None
    assert "HEAD is now detached at" in result.stdout
    assert lineage.repo.reflog()[0].message.startswith("checkout: moving from main to ")


def test_reset_goes_back_to_the_branch(lineage: Lineage, cns: Any, commits: Any) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    assert "HEAD is on branch main" in cns("bisect", "reset").stdout
    assert lineage.repo.head().branch == "main"
    assert not (lineage.repo.folder / bisect_state.FILE).exists()
    assert "no bisection was running" in cns("bisect", "reset").stdout


def test_reset_names_what_was_made_meanwhile(lineage: Lineage, cns: Any, commits: Any) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    lineage.add("meanwhile", noun="cat")
    made = lineage.repo.head().commit
    result = cns("bisect", "reset")
    assert f"  next: cns branch NAME {made[:10]}   (to keep 1 commit made meanwhile)\n" in result.stderr
    assert lineage.repo.head().branch == "main"


def test_reset_goes_back_to_a_detached_head_or_to_what_is_named(lineage: Lineage, cns: Any, commits: Any) -> None:
    cns("checkout", commits["pip"])
    cns("bisect", "start", "HEAD", commits["rex"])
    cns("bisect", "reset")
    assert lineage.repo.head().commit == commits["pip"]
    cns("bisect", "start", "HEAD", commits["rex"])
    cns("bisect", "reset", "main")
    assert lineage.repo.head().branch == "main"


def test_a_second_start_ends_the_first_and_still_knows_the_way_back(lineage: Lineage, cns: Any, commits: Any) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    cns("bisect", "start", "HEAD", commits["tom"])
    cns("bisect", "reset")
    assert lineage.repo.head().branch == "main"


def test_a_second_start_means_head_as_it_was_before_the_first(lineage: Lineage, cns: Any, commits: Any) -> None:
    for words in (["HEAD", commits["rex"]], ["--metric", "rex.clip_i", "--below", "0.7"]):
        for _ in range(2):
            cns("bisect", "start", *words)
            state = bisect_state.load(lineage.repo.folder)
            assert state is not None
            assert (state.branch, state.bad, state.good) == ("main", commits["cat"], (commits["rex"],))


@pytest.mark.parametrize(
    "words", [["nope"], ["HEAD~6", "HEAD"], ["--metric", "zoe.clip_i", "--below", "0.7"]], ids=lambda words: words[0]
)
def test_a_start_that_is_refused_leaves_the_one_that_runs(
    lineage: Lineage, cns: Any, commits: Any, words: list[str]
) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    state, head = (lineage.repo.folder / bisect_state.FILE).read_bytes(), lineage.repo.head()
    assert cns("bisect", "start", *words).exit_code == 4
    assert (lineage.repo.folder / bisect_state.FILE).read_bytes() == state
    assert lineage.repo.head() == head


def test_reset_to_a_revision_moves_nothing_without_a_bisection(lineage: Lineage, cns: Any, commits: Any) -> None:
    result = cns("bisect", "reset", commits["tom"])
    assert "no bisection was running: HEAD is on branch main" in result.stdout
    assert f"cns checkout {commits['tom']}" in result.stderr
    assert lineage.repo.head().branch == "main"


@pytest.mark.parametrize("culprit", NAMES[1:])
def test_run_finds_every_culprit(lineage: Lineage, cns: Any, commits: Any, culprit: str, tmp_path: Path) -> None:
    log = tmp_path / "asked"
    body = f"open({str(log)!r}, 'a').write(repo.head().commit + '\\n')\nsys.exit({culprit!r} in names)"
    cns("bisect", "start", "HEAD", commits["rex"])
    found = said(cns("bisect", "run", "--json", *program(tmp_path, body)))
    assert found["commit"]["id"] == commits[culprit]
    asked = log.read_text().split() if log.exists() else []
    assert len(asked) == len(set(asked)) <= math.ceil(math.log2(6))


@pytest.mark.parametrize(("code", "answer"), [(0, "good"), (1, "bad"), (3, "bad"), (124, "bad"), (125, "skip")])
def test_exit_codes_are_answers(
    lineage: Lineage, cns: Any, commits: Any, code: int, answer: str, tmp_path: Path
) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    asked = lineage.repo.head().commit
    cns("bisect", "run", *program(tmp_path, f"sys.exit({code})"))
    assert f"cns bisect {answer} {asked}" in cns("bisect", "log").stdout


@pytest.mark.parametrize("body", ["sys.exit(128)", "sys.exit(255)", "os.kill(os.getpid(), 9)"])
def test_a_program_that_asks_to_stop_marks_nothing(
    lineage: Lineage, cns: Any, commits: Any, body: str, tmp_path: Path
) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    before = cns("bisect", "log").stdout
    result = cns("bisect", "run", *program(tmp_path, body))
    assert result.exit_code == 4
    assert "nothing was marked" in result.stderr
    assert cns("bisect", "log").stdout == before


def test_a_program_that_is_not_there_is_no_bad_commit(lineage: Lineage, cns: Any, commits: Any) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    for words in (["no-such-program"], ["sh", "-c", "no-such-program"]):
        result = cns("bisect", "run", *words)
        assert result.exit_code == 4
        assert "nothing was marked" in result.stderr
    assert lineage.repo.head().commit == bisect_state.load(lineage.repo.folder).expected  # type: ignore[union-attr]


def test_an_interruption_leaves_head_at_the_commit_in_question(
    lineage: Lineage, cns: Any, commits: Any, tmp_path: Path
) -> None:
    """The program fails as a shell does, and is stopped where it is tried at a commit that is known to be good."""
    cns("bisect", "start", "HEAD", commits["rex"])
    body = (
        f"import signal\nif repo.head().commit != {commits['rex']!r}: sys.exit(127)\n"
        "os.kill(os.getppid(), signal.SIGINT)\nsignal.pause()"
    )
    done = subprocess.run(
        [sys.executable, "-m", "cns_cli", "bisect", "run", *program(tmp_path, body)], cwd=tmp_path,
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    assert "interrupted; the answers so far are kept" in done.stderr
    assert "try: cns bisect run " in done.stderr
    assert lineage.repo.head().commit == bisect_state.load(lineage.repo.folder).expected  # type: ignore[union-attr]


def test_127_from_a_program_that_can_be_run_is_bad(lineage: Lineage, cns: Any, commits: Any, tmp_path: Path) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    found = said(cns("bisect", "run", "--json", *program(tmp_path, "sys.exit(127 if 'tom' in names else 0)")))
    assert found["commit"]["id"] == commits["tom"]


def test_options_after_the_program_are_its_own(lineage: Lineage, cns: Any, commits: Any, tmp_path: Path) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    words = program(tmp_path, "sys.exit(0 if sys.argv[1:] == ['--json', '-x', '--bisect'] else 128)")
    result = cns("bisect", "run", *words, "--json", "-x", "--bisect")
    assert result.exit_code == 0
    assert result.stdout.startswith("first bad commit")


def test_a_device_is_not_for_a_program(lineage: Lineage, cns: Any, commits: Any) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    result = cns("bisect", "run", "--device", "cpu", "true")
    assert result.exit_code == 2
    assert "--device goes with --metric" in result.stderr


@pytest.mark.parametrize(("verb", "usage"), [("start", "[REV]..."), ("skip", "[REV]..."), ("run", "[PROGRAM]...")])
def test_the_help_names_its_words_once(cns: Any, verb: str, usage: str) -> None:
    lines = cns("bisect", verb, "--help").stdout.splitlines()
    assert lines[0] == f"Usage: cns bisect {verb} [OPTIONS] {usage}"
    assert any(line.startswith(f"  {usage.strip('[].')} <str>  ") for line in lines)


def test_what_the_program_prints_is_not_the_answer(lineage: Lineage, cns: Any, commits: Any, tmp_path: Path) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    words = program(tmp_path, "print('chatter'); sys.exit(0)")
    done = subprocess.run(
        [sys.executable, "-m", "cns_cli", "bisect", "run", "--json", *words], cwd=tmp_path, capture_output=True,
        text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["status"] == "found"
    assert "chatter" in done.stderr


def test_only_skipped_commits_left_is_no_success(lineage: Lineage, cns: Any, commits: Any, tmp_path: Path) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    result = cns("bisect", "run", *program(tmp_path, "sys.exit(125)"))
    assert result.exit_code == 3
    for name in NAMES[1:]:
        assert commits[name] in result.stdout


def test_an_answer_that_contradicts_the_others_is_refused_and_not_written(
    lineage: Lineage, cns: Any, commits: Any
) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    before = (lineage.repo.folder / bisect_state.FILE).read_bytes()
    for words in (["bad", commits["rex"]], ["good", commits["cat"]], ["skip", commits["rex"]]):
        assert cns("bisect", *words).exit_code == 4
    assert (lineage.repo.folder / bisect_state.FILE).read_bytes() == before


def test_an_unrelated_checkout_in_between_is_noticed(lineage: Lineage, cns: Any, commits: Any) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    expected = lineage.repo.head().commit
    cns("checkout", "main")
    for words, tried in ((["good"], "cns bisect good"), (["run", "true"], "cns checkout")):
        result = cns("bisect", *words)
        assert result.exit_code == 4
        assert f"try: {tried} {expected[:10]}" in result.stderr
    assert cns("bisect", "good", expected).exit_code == 0
    assert lineage.repo.head().branch is None


def test_a_bisection_that_went_on_meanwhile_takes_no_stale_answer(
    lineage: Lineage, cns: Any, commits: Any, tmp_path: Path
) -> None:
    """The program itself answers in another process, as a colleague might."""
    cns("bisect", "start", "HEAD", commits["rex"])
    body = (
        "import subprocess\n"
        "subprocess.run([sys.executable, '-m', 'cns_cli', 'bisect', 'bad'], check=True,"
        f" env={{**os.environ, 'PYTHONPATH': {str(ROOT)!r}}})\nsys.exit(0)"
    )
    result = cns("bisect", "run", *program(tmp_path, body))
    assert result.exit_code == 4
    assert "went on" in result.stderr


def test_the_log_repeats_the_bisection(lineage: Lineage, cns: Any, commits: Any, tmp_path: Path) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    cns("bisect", "run", *program(tmp_path, "sys.exit('mug' in names)"))
    lines = cns("bisect", "log").stdout.splitlines()
    cns("bisect", "reset")
    last = None
    for line in (line for line in lines if not line.startswith("#")):
        last = cns(*line.split()[1:])
    assert last is not None
    assert f"first bad commit: {commits['mug'][:10]}" in last.stdout


def test_a_merge_is_searched_on_both_sides(lineage: Lineage, cns: Any, commits: Any, tmp_path: Path) -> None:
    from registry.objects import Commit

    repo = lineage.repo
    side = repo.commit_of(commits["mug"])
    merged = Commit(
        repo.commit_of(commits["cat"]).tree, (commits["tom"], commits["cat"]), None, "merge", "m", "a", side.time
    )
    repo.move_ref("refs/heads/merged", None, repo.objects.put(merged), author="a", time=0, message="m")
    cns("bisect", "start", "merged", commits[""])
    found = said(cns("bisect", "run", "--json", *program(tmp_path, "sys.exit('pip' in names)")))
    assert found["commit"]["id"] == commits["pip"]


def test_without_a_bisection_each_verb_says_how_to_start(lineage: Lineage, cns: Any) -> None:
    for words in (["good"], ["bad"], ["skip"], ["run", "true"], ["run"], ["log"]):
        result = cns("bisect", *words)
        assert result.exit_code == 4, words
        assert "cns bisect start" in result.stderr


def test_a_damaged_state_names_reset_and_reset_clears_it(lineage: Lineage, cns: Any, commits: Any) -> None:
    cns("bisect", "start", "HEAD", commits["rex"])
    path = lineage.repo.folder / bisect_state.FILE
    whole = path.read_bytes()
    for at in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(BisectDamaged):
            bisect_state.load(lineage.repo.folder)
    result = cns("bisect", "good")
    assert result.exit_code == 4
    assert "try: cns bisect reset" in result.stderr
    assert cns("bisect", "reset", "main").exit_code == 0
    assert lineage.repo.head().branch == "main"
    assert cns("bisect", "start").exit_code == 0


def test_every_kill_leaves_a_bisection_that_goes_on(lineage: Lineage, cns: Any, commits: Any) -> None:
    """A child dies before each of its system calls; the answer is then given again, wherever HEAD was left."""
    from cns_cli.porcelain.bisect import mark, reset, start
    from cns_cli.porcelain.options import Request

    request, repo = Request(start=lineage.repo.root), lineage.repo
    deaths = 0
    for _ in steps(True, lambda: start(request, ["main", commits["rex"]])):
        deaths += 1
        state = bisect_state.load(repo.folder)
        assert state is None or state.branch == "main"
        reset(request)
        assert repo.head().branch == "main"
    for _ in steps(True, lambda: mark(request, "good", [commits["tom"]])):
        deaths += 1
        state = bisect_state.load(repo.folder)
        assert state is not None
        assert state.expected is not None
    state = bisect_state.load(repo.folder)
    assert state is not None
    assert commits["tom"] in state.good
    assert repo.head().commit == state.expected
    for _ in steps(True, lambda: reset(request)):
        deaths += 1
    assert repo.head().branch == "main"
    assert bisect_state.load(repo.folder) is None
    assert deaths > 20


@pytest.mark.parametrize(
    "words",
    [
        ["--metric", "rex.clip_i"],
        ["--below", "0.7"],
        ["--metric", "rex.clip_i", "--below", "0.7", "--above", "0.1"],
        ["--metric", "clip_i", "--below", "0.7"],
        ["--metric", "rex.clip_i", "--below", "nan"],
        ["--metric", "rex.fid", "--below", "0.7"],
    ],
)
def test_a_metric_goes_with_one_limit(lineage: Lineage, cns: Any, words: list[str]) -> None:
    assert cns("bisect", "start", *words).exit_code == 2


def test_with_a_metric_the_ends_are_known(lineage: Lineage, cns: Any, commits: Any) -> None:
    cns("bisect", "start", "--metric", "tom.clip_i", "--below", "0.7")
    state = bisect_state.load(lineage.repo.folder)
    assert state is not None
    assert state.watch == bisect_state.Watch("tom", "clip-i", False, 0.7, None)
    assert (state.bad, state.good) == (commits["cat"], (commits["tom"],))
    assert cns("bisect", "log").stdout.startswith("cns bisect start --metric tom.clip-i --below 0.7\n")


def test_a_metric_of_a_concept_that_is_not_there_or_just_came(lineage: Lineage, cns: Any, commits: Any) -> None:
    assert cns("bisect", "start", "--metric", "zoe.clip_i", "--below", "0.7").exit_code == 4
    result = cns("bisect", "start", "--metric", "cat.id.drop", "--above", "0.03")
    assert result.exit_code == 4
    assert not (lineage.repo.folder / bisect_state.FILE).exists()


def test_a_branch_that_is_gone_is_named_with_where_it_was(lineage: Lineage, cns: Any, commits: Any) -> None:
    cns("branch", "dev")
    cns("checkout", "dev")
    cns("bisect", "start", "HEAD", commits["rex"])
    lineage.repo.move_ref("refs/heads/dev", commits["cat"], None, author="a", time=0, message="delete")
    result = cns("bisect", "reset")
    assert result.exit_code == 4
    assert f"cns bisect reset {commits['cat'][:10]}" in result.stderr
    assert cns("bisect", "reset", commits["cat"]).exit_code == 0
