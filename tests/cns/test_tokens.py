"""Special tokens: one row each, nobody else's row touched."""

from __future__ import annotations

import pytest
import torch

from cns.errors import TokenError
from cns.templates import default_token
from cns.text import class_noun_row, embeddings, encode_prompts, install_tokens, tokenizers, trainable_rows
from cns.tokens import check_new_token, content_positions, token_ids


def test_default_token_is_the_name_in_lower_case():
    assert default_token("Rex") == "<rex>"


@pytest.mark.parametrize("token", ["dog", "Dog", "a"])
def test_a_token_that_means_something_already_is_refused(model, token):
    with pytest.raises(TokenError, match="already in the vocabulary"):
        check_new_token(model.pipeline.tokenizer, token)


@pytest.mark.parametrize("token", ["", "two words", "<\x1b[31m>", "x" * 65])
def test_a_token_with_odd_characters_is_refused(model, token):
    with pytest.raises(TokenError, match="may hold only"):
        check_new_token(model.pipeline.tokenizer, token)


def test_an_installed_token_is_refused_the_second_time(model):
    pipeline = model.pipeline
    check_new_token(pipeline.tokenizer, "<rex>")
    install_tokens(pipeline, {"<rex>": torch.ones(32)})
    with pytest.raises(TokenError):
        check_new_token(pipeline.tokenizer, "<rex>")


def test_installing_leaves_every_other_row_as_it_is(any_model):
    pipeline = any_model.pipeline
    before = [weight.clone() for weight in embeddings(pipeline)]
    row = torch.arange(float(sum(weight.shape[1] for weight in before)))
    install_tokens(pipeline, {"<b>": row, "<a>": torch.zeros_like(row)})
    after, size = embeddings(pipeline), pipeline.tokenizer.vocab_size  # of T5, less than the embedding has rows
    for one, other in zip(before, after, strict=True):
        assert torch.equal(other[:size], one[:size])
        assert len(other) == size + 2
    for tokenizer in tokenizers(pipeline):  # sorted, whatever order they came in
        assert [tokenizer.convert_tokens_to_ids(token) for token in ("<a>", "<b>")] == [size, size + 1]
    assert torch.equal(torch.cat([weight[size + 1] for weight in after]), row)


def test_a_token_is_one_piece_in_any_surrounding(model):
    pipeline = model.pipeline
    install_tokens(pipeline, {"<rex>": torch.ones(32)})
    own = pipeline.tokenizer.convert_tokens_to_ids("<rex>")
    for prompt in ("a <rex> dog", "<rex>", "a dog,<rex>.", "a <rex><rex>"):
        assert own in token_ids(pipeline.tokenizer, [prompt])[0]


def test_a_token_without_brackets_is_not_found_in_longer_words(model):
    pipeline = model.pipeline
    before = token_ids(pipeline.tokenizer, ["a zwx2 dog"]).tolist()
    install_tokens(pipeline, {"zwx": torch.ones(32)})
    assert token_ids(pipeline.tokenizer, ["a zwx2 dog"]).tolist() == before
    assert pipeline.tokenizer.convert_tokens_to_ids("zwx") in token_ids(pipeline.tokenizer, ["a zwx, dog"])[0]


def test_class_noun_row_is_the_mean_of_its_pieces(model):
    pipeline = model.pipeline
    weight = pipeline.text_encoder.get_input_embeddings().weight
    ids = pipeline.tokenizer("dog cat", add_special_tokens=False).input_ids
    row = class_noun_row(pipeline, "dog cat")
    assert len(ids) == 2
    torch.testing.assert_close(row, (weight[ids[0]] + weight[ids[1]]) / 2)


def test_content_positions_leave_out_bos_eos_and_padding(any_model):
    tokenizer = any_model.pipeline.tokenizer
    assert content_positions(tokenizer, ["a dog", ""]).sum(1).tolist() == [2, 0]


def test_trainable_rows_stand_in_for_the_embedding_and_get_the_gradient(model):
    pipeline = model.pipeline
    install_tokens(pipeline, {"<rex>": torch.zeros(32)})
    pipeline.text_encoder.requires_grad_(False)
    row = torch.ones(32, requires_grad=True)
    own = pipeline.tokenizer.convert_tokens_to_ids("<rex>")
    plain = encode_prompts(pipeline, ["a <rex> dog"])
    with trainable_rows(pipeline, {own: row}):
        features = encode_prompts(pipeline, ["a <rex> dog"])
    features.square().sum().backward()
    assert row.grad is not None
    assert row.grad.abs().sum() > 0
    assert not torch.equal(features, plain)
    assert torch.equal(encode_prompts(pipeline, ["a <rex> dog"]), plain)
