"""A base of flow matching and a language model: what it learns, and what it reads of a prompt behind the instruction.

What it has in common with other transformers is in `test_transformers.py`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cns.compose import Model
from cns.denoiser import denoiser_of
from cns.denoising import Denoiser, NoisedBatch, Schedule
from cns.errors import BaseModelError, TokenError
from cns.families import FAMILIES
from cns.loading import load_pipeline
from cns.probing import probe
from cns.quiet import quiet_libraries
from cns.sampling import sample
from cns.text import conditions_of, trainable_rows
from cns.tokens import check_new_token, count_over, count_unseen, encoder_ids, token_ids
from tests.cns.conftest import tiny_model
from tests.cns.test_training import learn, task
from tests.cns.test_transformers import FEW, theirs
from tests.tiny import WIDTH


@pytest.fixture
def sana(tiny_folders: dict[str, Path]) -> Model:
    """A fresh tiny Sana."""
    return tiny_model(tiny_folders["sana"])


def flow(sana: Model, scheduler: Any) -> Schedule:
    sana.pipeline.scheduler = scheduler
    return Schedule.of(sana.pipeline)


def test_sana_learns_what_its_schedulers_undo(sana: Model) -> None:
    """From noisy latents, any of its schedulers arrives at the picture, if what is predicted is what is trained for."""
    import diffusers

    torch.manual_seed(0)
    latents, noise = torch.randn(2, 1, 4, 2, 2)
    shifted = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}
    multistep = diffusers.DPMSolverMultistepScheduler(**shifted)
    found = flow(sana, multistep)
    for scheduler in (multistep, diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)):
        schedule = flow(sana, scheduler)
        assert torch.equal(schedule.sigma, found.sigma)
        with quiet_libraries():  # of numpy 2
            scheduler.set_timesteps(4)
        level = (schedule.sigma - scheduler.sigmas[0]).abs().argmin()
        noisy = schedule.signal[level] * latents + schedule.sigma[level] * noise
        for time in scheduler.timesteps:
            answer = schedule.target(latents, noise, schedule.signal[level], schedule.sigma[level])
            noisy = scheduler.step(answer, time, noisy, return_dict=False)[0]
        torch.testing.assert_close(noisy, latents, atol=2e-3, rtol=0)
    euler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    assert torch.equal(found.sigma, euler.sigmas.flip(0))
    assert torch.equal(found.times, euler.timesteps.flip(0))


def test_sana_is_told_the_noise_and_asked_for_the_way_to_it(sana: Model) -> None:
    latents, noise = torch.randn(2, 1, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    schedule = Schedule.of(sana.pipeline)
    sigma = float(schedule.sigma[499])
    assert round(sigma, 6) == 0.75  # of shift 3, half way
    told = conditions_of(sana.pipeline, ["a dog"]).inputs(64, 64)
    with torch.no_grad():
        noisy = (1 - sigma) * latents + sigma * noise
        answer = denoiser_of(sana.pipeline)(noisy, timestep=torch.tensor([sigma * 1000]), **told).sample
        found = Denoiser(sana, None).loss(NoisedBatch(latents, noise, torch.tensor([499]), ("a dog",)))
    torch.testing.assert_close(found, (answer - (noise - latents)).square().mean())


def test_a_word_of_the_instruction_is_no_token_and_what_is_cut_is_counted(sana: Model) -> None:
    tokenizer = sana.pipeline.tokenizer
    with pytest.raises(TokenError, match="stands in the instruction"):
        check_new_token(tokenizer, "skyscraper")
    long = " ".join(["dog"] * 310)
    assert count_over(tokenizer, ["a dog", long]) == [0, 11]
    assert count_over(tokenizer, [" ".join(["dog"] * 299)]) == [0]
    assert int(conditions_of(sana.pipeline, [long]).read.sum()) == 300


def test_a_row_is_as_long_as_gemma_reads_it_while_it_is_trained_and_after(sana: Model) -> None:
    row = torch.linspace(-1, 1, WIDTH)
    sana.add_tokens({"<rex>": torch.zeros(WIDTH)})
    token = sana.pipeline.tokenizer.convert_tokens_to_ids("<rex>")
    with torch.no_grad(), trainable_rows(sana.pipeline, {token: row}):
        trained = conditions_of(sana.pipeline, ["a <rex> dog"]).features
    sana.add_tokens({"<rex>": row})
    installed = conditions_of(sana.pipeline, ["a <rex> dog"]).features
    assert torch.equal(trained, installed)


def test_gradients_are_those_of_an_encoder_that_reads_instruction_and_padding_with_every_prompt(sana: Model) -> None:
    row = torch.linspace(-1, 1, WIDTH).requires_grad_()
    sana.add_tokens({"<rex>": torch.zeros(WIDTH)})
    tokenizer, prompts = sana.pipeline.tokenizer, ["a <rex> dog on the grass", "a <rex>"]
    ids, unseen = encoder_ids(tokenizer, prompts), count_unseen(tokenizer)
    found = []
    with trainable_rows(sana.pipeline, {tokenizer.convert_tokens_to_ids("<rex>"): row}):
        told = conditions_of(sana.pipeline, prompts)
        whole = sana.pipeline.text_encoder(ids, attention_mask=(ids != tokenizer.pad_token_id).long())
    states = torch.cat([whole.last_hidden_state[:, :1], whole.last_hidden_state[:, 1 + unseen :]], 1)
    for one in (told.states, states):
        assert one is not None
        (slope,) = torch.autograd.grad((one[told.read] ** 3).sum(), row)
        found.append(slope)
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)
    assert found[0].norm() > 1


def test_a_negative_prompt_is_read_without_the_instruction_and_sees_what_it_names(sana: Model) -> None:
    rex, tom = learn(sana, FEW).weights, learn(sana, FEW, task("tom")).weights
    how: dict[str, Any] = {"steps": 2, "guidance": 4.5, "negative": "<tom> dog"}
    sana.set_named([rex, tom])
    named = sample(sana.pipeline, ["a cat"], [3], **how)
    sana.set_concepts([tom])
    sana.set_tokens(rex.rows)
    every = sample(sana.pipeline, ["a cat"], [3], **how)  # the prompt sees <tom>'s weights, too
    assert not np.array_equal(named, every)
    plain, told = (token_ids(sana.pipeline.tokenizer, ["<tom> dog"], one)[0, :4].tolist() for one in (False, True))
    assert plain == told


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("transformer/config.json", {"guidance_embeds": True}, "takes the guidance as an input"),
        ("scheduler/scheduler_config.json", {"use_flow_sigmas": False}, "learned by flow matching"),
        ("scheduler/scheduler_config.json", {"prediction_type": "epsilon"}, "learned by flow matching"),
        ("model_index.json", {"scheduler": ["diffusers", "DDIMScheduler"]}, "expected one of DPMSolverMultistep"),
        ("model_index.json", {"text_encoder": ["transformers", "Gemma2ForCausalLM"]}, "not on the allow-list"),
        ("model_index.json", {"_class_name": "SanaSprintPipeline"}, "SanaSprintPipeline"),
    ],
)
def test_what_no_sana_is_is_refused_with_its_property(
    file: str, change: dict[str, Any], words: str, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_folders["sana"], tmp_path / "base")
    (base / file).write_text(json.dumps({**json.loads((base / file).read_text()), **change}))
    with pytest.raises(BaseModelError, match=words):
        load_pipeline(base)


def test_a_sana_that_draws_by_euler_is_probed_and_draws(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    base = shutil.copytree(tiny_folders["sana"], tmp_path / "base")
    index, name = base / "model_index.json", "FlowMatchEulerDiscreteScheduler"
    index.write_text(json.dumps({**json.loads(index.read_text()), "scheduler": ["diffusers", name]}))
    config = {"_class_name": name, "num_train_timesteps": 1000, "shift": 3.0}
    (base / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    pipeline = load_pipeline(base)
    probe(pipeline, FAMILIES["sana"], base)
    ours = sample(pipeline, ["a dog"], [3], steps=3, guidance=4.5)
    np.testing.assert_array_equal(ours[0], theirs(base, "a dog", 3))


def test_sana_needs_its_whole_vocabulary_in_one_file(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    base = shutil.copytree(tiny_folders["sana"], tmp_path / "base")
    (base / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(BaseModelError, match=r"lacks tokenizer\.json"):
        load_pipeline(base)
