"""Tokens of several vectors, where a token starts, and the guard of its length."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from cns.errors import SettingsError, TokenError
from cns.sampling import cut_off
from cns.templates import phrase_of, vector_tokens
from cns.text import class_noun_row, encode_prompts, keep_norms, norm_bands
from cns.tokens import check_new_token, expand_tokens, token_ids
from cns.training import first_rows
from tests.cns.test_training import SETTINGS, learn, stored, task

TWO = dataclasses.replace(SETTINGS, vectors=2)
PROMPTS = ["a <rex> dog", "a cat", "a <rex> dog and a <rex> cat"]


def rows_of(model, token: str, vectors: int):
    width = model.pipeline.text_encoder.config.hidden_size
    return {name: torch.full((width,), 0.1 * k) for k, name in enumerate(vector_tokens(token, vectors))}


def test_a_prompt_is_expanded_as_diffusers_expands_it(model):
    model.set_tokens({**rows_of(model, "<rex>", 3), **rows_of(model, "<tom>", 1)})
    prompts = [*PROMPTS, "a <tom> cat and a <rex> dog"]
    expected = [model.pipeline.maybe_convert_prompt(prompt, model.pipeline.tokenizer) for prompt in prompts]
    assert expand_tokens(model.pipeline.tokenizer, prompts) == expected
    assert expected[0] == "a <rex> <rex>_1 <rex>_2 dog"


def test_a_token_is_not_expanded_within_a_longer_one(model):
    model.set_tokens({**rows_of(model, "zwx", 2), **rows_of(model, "zwx2", 1)})
    assert expand_tokens(model.pipeline.tokenizer, ["a zwx dog, a zwx2 cat"]) == ["a zwx zwx_1 dog, a zwx2 cat"]
    assert expand_tokens(model.pipeline.tokenizer, ["a zwx zwx_1 dog"]) == ["a zwx zwx_1 dog"]


def test_our_features_of_a_prompt_are_those_of_the_pipeline(model):
    model.set_tokens(rows_of(model, "<rex>", 2))
    ours = encode_prompts(model.pipeline, PROMPTS)
    theirs, _ = model.pipeline.encode_prompt(PROMPTS, torch.device("cpu"), 1, False)
    assert torch.equal(ours, theirs)


def test_each_vector_is_one_position(model):
    model.set_tokens(rows_of(model, "<rex>", 2))
    ids = token_ids(model.pipeline.tokenizer, ["a <rex> dog"])[0]
    names = model.pipeline.tokenizer.convert_ids_to_tokens(ids[:5].tolist())
    assert names[2:4] == ["<rex>", "<rex>_1"]


def test_further_vectors_count_for_the_length_of_a_prompt(model):
    prompt = " ".join(["<rex>"] * 20)  # of 24 positions two are begin and end
    model.set_tokens(rows_of(model, "<rex>", 1))
    assert cut_off(model.pipeline, prompt) == 0
    model.set_tokens(rows_of(model, "<rex>", 2))
    assert cut_off(model.pipeline, prompt) == 18


def test_a_set_without_the_further_vectors_does_not_read_them(model):
    """The same model goes from a token of two vectors to one of one: the vocabulary must not remember."""
    model.set_tokens(rows_of(model, "<rex>", 1))
    alone = encode_prompts(model.pipeline, PROMPTS)
    model.set_tokens({**rows_of(model, "<rex>", 2), **rows_of(model, "<tom>", 1)})
    assert not torch.equal(encode_prompts(model.pipeline, PROMPTS), alone)
    model.set_tokens(rows_of(model, "<rex>", 1))
    assert torch.equal(encode_prompts(model.pipeline, PROMPTS), alone)


def test_all_vectors_are_learned_and_named_once_in_the_phrase(model):
    learned = learn(model, TWO)
    assert tuple(learned.weights.rows) == ("<rex>", "<rex>_1")
    assert learned.weights.phrase == "<rex> dog"
    one, other = learned.weights.rows.values()
    assert not torch.equal(one, other)  # they started alike
    assert learned.settings["vectors"] == 2


def test_two_vectors_are_the_same_bytes_every_time(tiny_folders):
    from tests.cns.conftest import tiny_model

    assert stored(learn(tiny_model(tiny_folders["sd-1"]), TWO)) == stored(learn(tiny_model(tiny_folders["sd-1"]), TWO))


def test_a_token_that_would_be_read_as_a_further_vector_is_refused(model):
    model.set_tokens(rows_of(model, "<rex>", 1))
    with pytest.raises(TokenError, match="further vector of '<rex>'"):
        check_new_token(model.pipeline.tokenizer, "<rex>_1")
    check_new_token(model.pipeline.tokenizer, "<rex-1>")


def test_phrases_leave_further_vectors_out():
    assert phrase_of(("<rex>", "<rex>_1"), "dog") == "<rex> dog"
    assert phrase_of(("<rex_2>",), "dog") == "<rex_2> dog"
    assert phrase_of(("<a>", "<b>"), "dog") == "<a> <b> dog"


def test_the_token_starts_at_the_class_noun_or_at_the_words_that_are_given(model):
    assert torch.equal(first_rows(model, task(), SETTINGS), class_noun_row(model.pipeline, "dog"))
    found = first_rows(model, task(), dataclasses.replace(TWO, init="red car"))
    assert torch.equal(found[1], class_noun_row(model.pipeline, "red car"))


def test_the_guard_keeps_rows_within_the_band_and_touches_no_other():
    rows = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.6, 0.8]])
    untouched = rows[2].clone()
    keep_norms(rows, [(2, 0.8, 2.0)])
    torch.testing.assert_close(rows.norm(dim=1), torch.tensor([2.0, 0.8, 1.0]))
    assert torch.equal(rows[2], untouched)


def test_the_band_is_that_of_the_vocabulary_without_the_tokens_of_concepts(model):
    tokenizer, text_encoder = model.pipeline.tokenizer, model.pipeline.text_encoder
    norms = text_encoder.get_input_embeddings().weight.detach().norm(dim=1)
    row = class_noun_row(model.pipeline, "dog")
    bands = norm_bands(model.pipeline, row)
    model.set_tokens({"<giant>": torch.full_like(row, 100.0)})
    assert norm_bands(model.pipeline, row) == bands
    expected = (len(row), float(norms[: tokenizer.vocab_size].min()), float(norms.max()))
    assert bands == [pytest.approx(expected)]


def test_a_guarded_training_stays_within_the_band(model):
    wild = dataclasses.replace(SETTINGS, token_lr=0.5, vectors=2)
    (band,) = norm_bands(model.pipeline, class_noun_row(model.pipeline, "dog"))
    free = [float(row.norm()) for row in learn(model, wild).weights.rows.values()]
    assert max(free) > band[2]
    model.set_tokens({})
    held = [float(row.norm()) for row in learn(model, dataclasses.replace(wild, norm_guard=True)).weights.rows.values()]
    assert all(band[1] - 1e-4 <= one <= band[2] + 1e-4 for one in held)


@pytest.mark.parametrize(
    "change", [{"vectors": 0}, {"vectors": 17}, {"past_vote": 0.0}, {"warmup_steps": -1}, {"prior": -1}]
)
def test_what_cannot_work_is_refused(model, change):
    with pytest.raises(SettingsError):
        learn(model, dataclasses.replace(SETTINGS, **change))


def test_settings_that_came_later_stand_in_the_record_only_where_they_differ():
    assert "vectors" not in SETTINGS.plain()
    assert TWO.plain() == {**SETTINGS.plain(), "vectors": 2}
    assert set(SETTINGS.plain()) == {
        "score", "reg", "reg_strength", "anchor_strength", "steps", "warmup_steps", "lr", "token_lr", "batch_size",
        "budget", "general_ratio", "general_vote", "seed",
    }  # fmt: skip


def test_prior_images_are_trained_on_beside_the_concept(model):
    images = task().images[:2]
    with_prior = dataclasses.replace(task(), prior=images, prior_prompts=["a dog", "a picture of a dog"])
    learned = learn(model, dataclasses.replace(SETTINGS, prior=2), with_prior)
    plain = learn(model, SETTINGS)
    assert learned.settings["prior"] == 2
    assert learned.series["loss"][0] > 1.5 * plain.series["loss"][0]  # two losses of one size
    assert learned.series["warmup_loss"] == plain.series["warmup_loss"]
