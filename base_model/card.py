"""The model card and NOTICE of a packaged base: prose that is written here, figures that the evaluation measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from textwrap import dedent

from base_model.evaluate import verdicts
from base_model.sources import ICON_SOURCES, SOURCES, STYLES
from base_model.vocabulary import COLOURS, DRAWN_PHRASES, NOUNS, VERSION

SHEET_NAME = "card_sheet.png"
# What the weights of an earlier run, from which `emoji-64-v1` goes on, had seen beyond the recipe of today.
EARLIER_RUN = (
    "The earlier run's VAE, tokenizer and CLIP (and so the start of the text encoder) had also been trained on Twemoji "
    "drawings; its denoiser and this base's identity encoder never were. FxEmoji was seen by none of them."
)
TRAININGS = ("vae", "identity", "clip", "unet")


def write_card(work: Path, base: Path) -> None:
    """Write `README.md`, `NOTICE`, `evaluation.json` and the contact sheet into the packaged folder.

    Args:
        work: The recipe's work folder, with what the trainings and the evaluation recorded.
        base: The packaged folder.
    """
    evaluation = work / "evaluation"
    report = json.loads((evaluation / "evaluation.json").read_text())
    records = read_records(work)
    (base / "README.md").write_text(card_text(report, records))
    (base / "NOTICE").write_text(notice_text(is_warm_started(records)))
    shutil.copyfile(evaluation / "evaluation.json", base / "evaluation.json")
    shutil.copyfile(evaluation / "sheet.png", base / SHEET_NAME)


def read_records(work: Path) -> list[dict]:
    """What the trainings recorded, in the order of the recipe."""
    return [json.loads(path.read_text()) for name in TRAININGS for path in (work / name).glob("record.json")]


def is_warm_started(records: list[dict]) -> bool:
    """Whether any training went on from the weights of an earlier run."""
    return any(record["start"] != "nothing" for record in records)


def card_text(report: dict, records: list[dict]) -> str:
    """The model card, in Markdown."""
    parts = (_head(), _data(), _training(records), _figures(report), _concepts(report), _limits(report))
    return "\n".join(part.strip() + "\n" for part in parts)


def notice_text(warm_started: bool) -> str:
    """Attribution of every package that the recipe reads, and of what an earlier run had read besides."""
    lines = [
        f"The weights of {VERSION} were trained on drawings of the packages marked (trained on); the demo's pictures",
        "under examples/concepts and benchmarks/other_artists are composed of drawings of the packages named there.",
        "",
    ]
    for source in SOURCES:
        if source.is_trained_on:
            use = "trained on; also benchmarks/other_artists"
        elif source.artist == "fxemoji":
            use = "examples/concepts; no training data"
        elif source.artist:
            use = "benchmarks/other_artists; no training data of the recipe"
        else:
            use = "names and tags of the drawings"
        lines += [f"{source.package} {source.version}, {source.licence} ({use})", f"    {source.url}"]
    lines += [
        "",
        "Twemoji: Copyright 2020 Twitter, Inc and other contributors. Graphics licensed under CC-BY 4.0:",
        "https://creativecommons.org/licenses/by/4.0/. Changes: rendered at 64 pixels, scaled, tilted, composed on",
        "backgrounds.",
        "Noto Emoji: Copyright Google Inc., Apache License 2.0. Fluent Emoji: Copyright Microsoft Corporation, MIT.",
        "FxEmoji: Copyright Mozilla Foundation, Apache License 2.0. emojibase-data: Copyright Miles Johnson, MIT.",
    ]
    if warm_started:
        lines += ["", f"{VERSION} goes on from the weights of an earlier run. {EARLIER_RUN}"]
    return "\n".join(lines) + "\n"


def _head() -> str:
    return dedent(f"""\
        # {VERSION}

        A text-to-image latent diffusion model that fits into a wheel: 64 x 64 pictures of {len(NOUNS)} things, drawn
        in the manner of four emoji artists, on plain and drawn backgrounds. It exists so that continual
        personalization can be learned, tested and shown on a laptop without a GPU and without a model hub. It is a
        plain diffusers folder:

        ```python
        StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
        ```

        `clip/` and `identity/` hold its two judges, `nouns.json` its vocabulary, `calibration.json` diverse prompts
        (even index: selection and regularization; odd index: held out for judging), `evaluation.json` the figures
        below.

        ![Contact sheet]({SHEET_NAME})
        """)


def _data() -> str:
    rows = "\n".join(
        f"| {source.package} | {source.version} | {source.licence} | {source.style} |"
        for source in ICON_SOURCES
        if source.is_trained_on
    )
    styles = ", ".join(f"`{style}`" for style in STYLES.values())
    return (
        "## Data\n\n"
        "| npm package | version | licence | style word |\n| --- | --- | --- | --- |\n" + rows + "\n\n"
        "Drawings are rendered at 64 px and composed into scenes: one object (or a small one, or two side by side) "
        f"on one of {len(COLOURS)} plain colours or {len(DRAWN_PHRASES)} painted backgrounds. A caption reads "
        '"a [small] [style] {noun} {background}" or "a {noun} and a {noun} {background}"; '
        f"style words are {styles}. Backgrounds: " + ", ".join(DRAWN_PHRASES) + '; "on a {colour} background" with '
        + ", ".join(COLOURS) + ".\n\nNouns: " + ", ".join(NOUNS) + ".\n\n"
        "Names and tags are those of emojibase-data (MIT). FxEmoji (Apache-2.0) and Twemoji (CC-BY 4.0) are no "
        "training data of this recipe: the demo's concepts are FxEmoji drawings, and Twemoji is one of the other "
        "artists that they are compared with. Every licence is checked against an allow-list when the data is "
        "fetched; see NOTICE.\n"
    )  # fmt: skip


def _training(records: list[dict]) -> str:
    text = (
        "## Training\n\n"
        "VAE (f4, 4 channels, every channel centred and scaled to 1), identity encoder (a small CNN, contrastive over "
        "views of single drawings), CLIP (contrastive over scenes), then the denoiser and the text encoder together "
        "(v-prediction, squared-cosine schedule, Muon and AdamW, average of weights, rate falling to zero). "
        "`python -m base_model run` repeats it from nothing; `docs/base_model.md` says what decided the quality.\n\n"
        "Four backgrounds of each noun were held out: no training scene showed that noun on them. "
    )
    if is_warm_started(records):
        text += (
            "These weights go on from rough weights of an earlier run of this recipe (VAE, CLIP, denoiser and text "
            "encoder; the identity encoder is from nothing), and that earlier run had *not* held anything out. So "
            '"held out" below is true of the training that is described here, not of the one before it. '
            + EARLIER_RUN
            + " "
        )
    text += "Held-out scenes are scenes of seeds of their own.\n"
    rows = [f"| {row['stage']} | {row['start']} | {row['steps']} | {row['minutes']:g} |" for row in records]
    return text + "\n| stage | from | steps | minutes |\n| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"


def fill_block(page: Path, name: str, lines: list[str]) -> None:
    """Replace what a Markdown page holds between `<!-- name -->` and the next `<!-- end -->`.

    Raises:
        ValueError: the page has no such block.
    """
    before, marker, rest = page.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not (marker and end):
        raise ValueError(f"{page} has no block '{name}'")
    page.write_text(before + marker + "\n".join(lines) + "\n" + end + after)


def _figures(report: dict) -> str:
    figures, sampler = report["figures"], report["sampler"]
    bars = "\n".join(f"    {line}" for line in verdicts(report))
    return (
        "## Figures\n\n"
        f"Measured on these fp16 files, loaded as float32, with {sampler['steps']} DDIM steps and guidance "
        f"{sampler['guidance']}, which a sweep over prompts that are not held out chose. Written by "
        "`python -m base_model evaluate` and `card`.\n\n" + bars + "\n\n"
        f"- `vae_psnr_db`: 500 held-out scenes; of the demo's references (an unseen artist): "
        f"{figures['vae_psnr_unseen_art_db']:.2f} dB.\n"
        "- `clip_r_at_1`: the own caption is the nearest of 500 distinct ones, for held-out scenes; the own picture "
        f"is the nearest for {figures['clip_r_at_1_text_to_image']:.3f} of the captions.\n"
        f'- `identity_top1`, `identity_top5`: {report["prompts"]} held-out prompts "a(n) {{noun}} {{background}}", one '
        f"picture each, all {len(NOUNS)} nouns ranked. A drawing of the data is the mean direction of 8 pictures of it "
        "on varied backgrounds; a noun is as near as the nearest of its drawings. On real scenes the encoder reaches "
        f"{figures['identity_top1_real']:.3f} top-1.\n"
        f'- `clip_top5`: the same pictures; the CLIP ranks "a(n) {{noun}} {{background}}" of all nouns on the asked '
        f"background. Top-1: {figures['clip_top1']:.3f}. On real scenes it reaches {figures['clip_top1_real']:.3f} "
        f"top-1 and {figures['clip_top5_real']:.3f} top-5.\n"
        f"- `seconds_per_image`: a batch of {sampler['batch']} in float32 on the 2 cores that trained it.\n"
        f"- Size: {figures['package_bytes'] / 2**20:.1f} MiB.\n"
    )


def _concepts(report: dict) -> str:
    rows = "\n".join(
        f"| {noun} | {row['own']:.3f} | {row['nearest_other']:.3f} | {row['share']:.0%} |"
        for noun, row in report["figures"]["concepts"].items()
    )
    return (
        "## The identity encoder on drawings that it never saw\n\n"
        "Mean cosine of a demo concept's reference pictures to each other, and to the nearest of five other artists' "
        "pictures of the same noun; share of the references that are nearer to their own.\n\n"
        "| concept | own | nearest other | own is nearer |\n| --- | --- | --- | --- |\n" + rows + "\n"
    )


def _limits(report: dict) -> str:
    missed = report["figures"]["missed"]
    taken = "; ".join(f"{row['prompt']} ({row['taken_for']})" for row in missed)
    return dedent(f"""\
        ## Limits

        - It knows {len(NOUNS)} nouns and twenty backgrounds, one or two objects, no actions, no people, no text.
          Other words mean little to it, or something else: "of" stood in "in front of a brick wall" alone, so that
          "a picture of a dog" draws a wall.
        - The identity encoder takes {len(missed)} of the {report["prompts"]} held-out pictures for another noun:
          {taken}.
        - Two objects side by side are drawn small and lose detail.
        - Its judges were trained on the same artists as the base. The identity encoder shares no weights with it; the
          CLIP's text tower is where its text encoder started.
        - 64 pixels. Nothing here says how a method fares on photographs.

        ## Licence

        The weights are under Apache-2.0, like the project. NOTICE names what they were trained on.
        """)
