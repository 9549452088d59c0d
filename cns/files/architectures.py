"""Text-to-image models by the class of their pipeline, and whether they could hold concepts.

A concept is a change of keys and values. It can be kept, and composed with others, where these read the text's features
alone: the same for every picture, timestep and step of the sampler. A name is no proof: `cns.probing` hears what the
matrices of a real model read. This table is what it heard from tiny random models of each class, and what is said of a
folder that holds one. Shapes are those of the published configs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """A line of models.

    Attributes:
        models: What people call them.
        pipelines: How the names of their classes in diffusers begin, but for "Pipeline".
        matrices: That read the text.
        weights: How many weights these have, and their share of the denoiser.
        static: Whether they read the text's features alone, in every layer the same.
        notes: What else is to be known.
        budget: What 0.13 % of the denoiser, the paper's budget, is of these weights.
    """

    models: str
    pipelines: tuple[str, ...]
    matrices: str
    weights: str
    static: bool
    notes: str = ""
    budget: str = "–"

    def why_not(self, pipeline: str) -> str:
        """Why a base of this line is not taken, though it is a whole one."""
        if self.static:
            matrices = self.matrices.strip("`")
            return f"{pipeline} is not supported yet, though {matrices} could hold concepts ({self.models})"
        return f"{pipeline} cannot hold concepts: {self.notes} ({self.models})"


CROSS = "`attn2.to_k/to_v`"
JOINT = "`add_k_proj/add_v_proj`"
CHANGES = "in joint attention, what keys and values read of the text changes with picture, timestep and layer"

ARCHITECTURES = (
    Architecture(
        "SD 1.5; 2.1; BK-SDM small, tiny",
        ("StableDiffusion", "StableDiffusionImg2Img", "StableDiffusionInpaint"),
        CROSS, "19.2 M, 2.2 %; 25.6 M, 3.0 %; 10.3 M, 2.1 to 3.2 %", True, "", "5.8 %; 4.4 %; 4 to 6 %",
    ),
    Architecture(
        "SDXL; SSD-1B", ("StableDiffusionXL",), CROSS, "340.8 M, 13.3 %; 157.3 M, 11.8 %", True,
        "the pooled text enters beside the timestep, too", "1.0 %; 1.1 %",
    ),
    Architecture(
        "Kolors", ("Kolors",), CROSS, "340.8 M, 13.2 %", True,
        "behind a projection of the text; the pooled text enters beside the timestep, too", "1.0 %",
    ),
    Architecture(
        "PixArt-alpha, Sigma", ("PixArtAlpha", "PixArtSigma"), CROSS, "74.4 M, 12.2 %", True,
        "behind a projection of the text", "1.1 %",
    ),
    Architecture(
        "Sana 0.6 B; 1.6 B", ("Sana",), CROSS, "74.4 M, 12.6 %; 200.8 M, 12.5 %", True,
        "behind a projection of the text", "1.0 %",
    ),
    Architecture(
        "PRX 1.2 B", ("PRX",), "`txt_kv_proj`", "102.8 M, 8.8 %", True, "keys and values are one matrix", "1.5 %"
    ),
    Architecture("HunyuanDiT", ("HunyuanDiT",), CROSS, "115.5 M, 7.7 %", True, "keys are normed", "1.7 %"),
    Architecture(
        "Lumina-Next", ("Lumina",), CROSS, "56.6 M, 3.2 %", False,
        "each layer norms the text its own way before keys and values read it", "4 %",
    ),
    Architecture("SD 3; 3.5", ("StableDiffusion3",), JOINT, "5.6 %", False, CHANGES),
    Architecture("Flux 1; 2", ("Flux",), JOINT, "3.0 %; 1.9 %", False, CHANGES),
    Architecture("AuraFlow", ("AuraFlow",), JOINT, "1.1 %", False, CHANGES),
    Architecture("Qwen-Image", ("QwenImage",), JOINT, "5.5 %", False, CHANGES),
    Architecture("Chroma", ("Chroma",), JOINT, "4.0 %", False, CHANGES),
    Architecture(
        "Lumina 2", ("Lumina2",), "`attn.to_k/to_v`", "–", False, f"text and picture are one sequence: {CHANGES}"
    ),
)  # fmt: skip

OTHERS = {
    "IF": "draws pixels, in stages of several models (DeepFloyd)",
    "LatentConsistencyModel": "was distilled to take the guidance as an input",
    "StableDiffusionControlNet": "has a ControlNet beside its parts; save the base alone: "
    "StableDiffusionPipeline(…).save_pretrained(FOLDER)",
    "StableDiffusionXLControlNet": "has a ControlNet beside its parts; save the base alone: "
    "StableDiffusionXLPipeline(…).save_pretrained(FOLDER)",
    "StableDiffusionUpscale": "makes pictures larger",
    "StableDiffusionDepth2Img": "reads a depth map",
    "StableDiffusionInstructPix2Pix": "edits a picture",
    "StableDiffusionGLIGEN": "reads where things are",
}
"""How the names of further pipelines begin, and what each does that no concept could be learned with."""


def why_not(pipeline: str) -> str | None:
    """Why a base of this class is not taken; None where nothing is known of it.

    Args:
        pipeline: Name of a class that is not among the supported ones.
    """
    rows = {start: one.why_not(pipeline) for one in ARCHITECTURES for start in one.pipelines if start not in TAKEN}
    rows |= {start: f"{pipeline} {does}" for start, does in OTHERS.items()}
    found = [start for start in rows if pipeline.startswith(start)]
    return rows[max(found, key=len)] if found else None


TAKEN = ("StableDiffusion", "StableDiffusionXL")  # the start of others' names, too
