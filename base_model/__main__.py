"""`python -m base_model STAGE`: run the recipe of the embedded base, whole or one stage of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from base_model.sources import SourceError

if TYPE_CHECKING:
    from base_model.stages import Workspace

REPOSITORY = Path(__file__).parent.parent
BASE_FOLDER = REPOSITORY / "cns" / "bases" / "emoji-64-v1"
EXAMPLES = REPOSITORY / "examples" / "concepts"
BENCHMARKS = REPOSITORY / "benchmarks" / "other_artists"
PAGE = REPOSITORY / "docs" / "base_model.md"
# Budgets on two cores from random weights; with a GPU every training is minutes.
DEFAULT_MINUTES = {"vae": 30.0, "identity": 15.0, "clip": 45.0, "unet": 180.0}

app = typer.Typer(help="The recipe of the embedded base model.", rich_markup_mode=None, no_args_is_help=True)

WorkOption = Annotated[Path, typer.Option("--work", help="Folder of downloads, checkpoints and results.")]
WarmOption = Annotated[Path | None, typer.Option("--warm-start", help="Packaged base to start the trainings from.")]
MinutesOption = Annotated[float | None, typer.Option("--minutes", min=0.01, help="Budget of each training stage.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads; torch's default if absent.")]
BaseOption = Annotated[Path, typer.Option("--base", help="The packaged folder.")]

DEFAULT_WORK = Path(".base_model")


def _workspace(work: Path, warm_start: Path | None, device: str, threads: int | None) -> Workspace:
    """Imports torch, so only the stages that need it pay for it."""
    import torch

    from base_model.stages import Workspace
    from base_model.training import pick_device

    if threads is not None:
        torch.set_num_threads(threads)
    return Workspace(work, pick_device(device), warm_start)


def _add_stage(name: str, help_text: str, is_training: bool) -> None:
    """Make a command of the function `run_<name>` of `base_model.stages`."""

    def command(
        work: WorkOption = DEFAULT_WORK,
        warm_start: WarmOption = None,
        minutes: MinutesOption = None,
        device: DeviceOption = "auto",
        threads: ThreadsOption = None,
    ) -> None:
        _run_stage(name, is_training, _workspace(work, warm_start, device, threads), minutes)

    app.command(name, help=help_text)(command)


STAGES = (
    ("fetch", "Bring the npm packages, check hashes and licences.", False),
    ("render", "Render the drawings.", False),
    ("scenes", "Compose the scenes.", False),
    ("vae", "Train the VAE.", True),
    ("identity", "Train the identity encoder.", True),
    ("clip", "Learn the tokenizer and train the CLIP.", True),
    ("unet", "Train the denoiser with the text encoder.", True),
)
for _stage in STAGES:
    _add_stage(*_stage)


def _run_stage(name: str, is_training: bool, workspace: Workspace, minutes: float | None) -> None:
    from base_model import stages

    stage = getattr(stages, f"run_{name}")
    typer.echo(f"{name} ...", err=True)
    if is_training:
        stage(workspace, DEFAULT_MINUTES[name] if minutes is None else minutes)
    else:
        stage(workspace)


@app.command()
def run(
    work: WorkOption = DEFAULT_WORK,
    warm_start: WarmOption = None,
    minutes: MinutesOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    base: BaseOption = BASE_FOLDER,
) -> None:
    """Run every stage that has no result yet, then package and evaluate."""
    workspace = _workspace(work, warm_start, device, threads)
    for name, _, is_training in STAGES:
        _run_stage(name, is_training, workspace, minutes)
    package(work, device, threads, base)
    evaluate(work, device, threads, base)
    card(work, base)


@app.command()
def package(
    work: WorkOption = DEFAULT_WORK,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    base: BaseOption = BASE_FOLDER,
) -> None:
    """Write the packaged folder from what was trained."""
    from base_model.package import package as write

    write(_workspace(work, None, device, threads), base)


@app.command()
def evaluate(
    work: WorkOption = DEFAULT_WORK,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    base: BaseOption = BASE_FOLDER,
) -> None:
    """Measure the packaged folder against its bars; writes WORK/evaluation."""
    from base_model.evaluate import evaluate as measure
    from base_model.evaluate import verdicts

    workspace = _workspace(work, None, device, threads)
    report = measure(workspace, base, work / "evaluation", EXAMPLES, BENCHMARKS)
    for line in verdicts(report):
        typer.echo(line)


@app.command()
def sweep(
    work: WorkOption = DEFAULT_WORK,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    base: BaseOption = BASE_FOLDER,
) -> None:
    """Compare guidance scales and numbers of steps on prompts that are not held out."""
    from base_model.card import fill_block
    from base_model.evaluate import sweep as compare
    from base_model.evaluate import sweep_lines

    table = compare(_workspace(work, None, device, threads), base, work / "evaluation")
    fill_block(PAGE, "sweep", sweep_lines(table))


@app.command()
def concepts(work: WorkOption = DEFAULT_WORK, threads: ThreadsOption = None, base: BaseOption = BASE_FOLDER) -> None:
    """Write the demo's concepts and the other artists' pictures, and show that the base saw nothing like them."""
    from base_model.card import fill_block
    from base_model.concepts import write_concepts
    from base_model.similarity import similarity_table, table_lines

    workspace = _workspace(work, None, "cpu", threads)
    write_concepts(workspace.packages, EXAMPLES, BENCHMARKS)
    rows = similarity_table(workspace, base)
    lines = table_lines(rows)
    typer.echo("\n".join(lines))
    fill_block(PAGE, "similarity", lines)
    seen = [row.noun for row in rows if not row.is_new]
    if seen:
        raise typer.BadParameter(f"the base was trained on drawings too near to: {', '.join(seen)}")


@app.command()
def streams(work: WorkOption = DEFAULT_WORK, base: BaseOption = BASE_FOLDER) -> None:
    """Write the benchmark's streams of concepts: pictures, orders, prompts and seeds."""
    from base_model.streams import write_streams

    # The packages of `python -m base_model fetch`.
    write_streams(work / "npm", base / "calibration.json", BENCHMARKS.parent / "streams")


@app.command()
def card(work: WorkOption = DEFAULT_WORK, base: BaseOption = BASE_FOLDER) -> None:
    """Write the model card and NOTICE from what the trainings and the evaluation recorded."""
    from base_model.card import is_warm_started, notice_text, read_records, write_card
    from base_model.streams import streams_notice

    write_card(work, base)
    notice = notice_text(is_warm_started(read_records(work))) + streams_notice()
    (REPOSITORY / "NOTICE").write_text(notice)


if __name__ == "__main__":
    try:
        app()
    except SourceError as error:
        raise SystemExit(f"error: {error}") from error
