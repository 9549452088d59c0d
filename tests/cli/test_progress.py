from __future__ import annotations

import io
import re

from cns_cli.progress import LiveProgress, NullProgress, PlainProgress, open_progress


class Clock:
    """A clock that stands still until it is told otherwise."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_are_few() -> None:
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, clock) as progress:
        progress.stage("load the model")
        progress.stage("finetune", 400)
        for done in range(1, 401):
            clock.now = done * 0.1
            progress.step(done, loss=0.5 / done)
        progress.note("a remark")
    assert stream.getvalue().splitlines() == [
        "load the model",
        "finetune (400)",
        "finetune: 100/400, loss 0.005, 30 s left",
        "finetune: 200/400, loss 0.0025, 20 s left",
        "finetune: 300/400, loss 0.001667, 10 s left",
        "finetune: 400/400, loss 0.00125",
        "a remark",
    ]


def test_without_a_total_there_is_no_time_left() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress(stream, clock)
    progress.stage("search")
    clock.now = 60.0
    progress.step(7, token_loss=0.1)
    assert stream.getvalue() == "search\nsearch: 7, token loss 0.1\n"


def test_the_live_bar_shows_stage_step_and_loss() -> None:
    stream = Terminal()
    with LiveProgress(stream) as progress:
        progress.step(1)  # before any stage: nothing to draw
        progress.stage("finetune\x1b[2J", 4)
        progress.step(2, loss=0.25)
        progress.note("a [red]remark[/red]\x07")
        progress.stage("judge")
    text = stream.getvalue()
    for part in ("finetune\\x1b[2J", "2/4", "loss 0.25", "[red]remark[/red]\\x07", "judge"):
        assert part in text
    ours = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert "\x1b" not in ours


def test_an_error_leaves_the_bar_and_the_cursor_in_order() -> None:
    stream = Terminal()
    try:
        with LiveProgress(stream) as progress:
            progress.stage("finetune", 4)
            raise ValueError
    except ValueError:
        pass
    assert stream.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is shown again


def test_the_stream_decides() -> None:
    assert isinstance(open_progress(io.StringIO()), PlainProgress)
    assert isinstance(open_progress(Terminal()), LiveProgress)


def test_silence() -> None:
    with NullProgress() as progress:
        progress.stage("x", 3)
        progress.step(1, loss=1.0)
        progress.note("y")
