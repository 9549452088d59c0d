"""Weights of words: compel moves the features of the words that have one, and reads our tokens as we do."""

from __future__ import annotations

import pytest
import torch

from cns.sampling import sample
from cns.text import embeddings, encode_prompts, install_tokens
from cns.tokens import token_ids
from cns.weighting import fragments, weighing, words_of

pytest.importorskip("compel")


@pytest.fixture
def pipeline(clip_model):
    found = clip_model.pipeline
    width = sum(weight.shape[1] for weight in embeddings(found))
    tokens = ("<rex>", "<rex>_1", "<rex>_2", "sks", "sks_1")
    rows = torch.randn(len(tokens), width, generator=torch.Generator().manual_seed(0)) * 0.1
    install_tokens(found, dict(zip(tokens, rows, strict=True)))
    return found


def features(pipeline, text):
    with torch.no_grad(), weighing(pipeline, [text]):
        return encode_prompts(pipeline, [words_of(text)])[0]


def test_a_prompt_is_split_into_words_and_weights():
    assert fragments("a (<rex> dog:1.3) on grass") == [("a ", 1.0), ("<rex> dog", 1.3), (" on grass", 1.0)]
    assert fragments("a (dog:.8)") == [("a ", 1.0), ("dog", 0.8)]
    assert words_of("a (<rex> dog:1.3) on (grass : 0.5)") == "a <rex> dog on grass"
    for plain in ("at the station (at 10:30)", "a (big) dog", "a ((dog))", "a (dog:-1)"):
        assert words_of(plain) == plain


@pytest.mark.parametrize("text", ["a (<rex> dog:1) on grass", "a (sks:1.0) dog", 'a photo, (of a "red":1) <rex> dog'])
def test_a_weight_of_one_leaves_every_bit(pipeline, text):
    plain = encode_prompts(pipeline, [words_of(text)])[0]
    assert torch.equal(features(pipeline, text), plain)


def test_a_weight_moves_all_vectors_of_its_words_and_no_other_word(pipeline):
    words = "a <rex> dog on grass"
    ids = pipeline.tokenizer.convert_ids_to_tokens(token_ids(pipeline.tokenizer, [words])[0].tolist())
    plain = encode_prompts(pipeline, [words])[0]
    moved = (features(pipeline, "a (<rex>:1.3) dog on grass") - plain).abs().amax(1) > 1e-6
    assert {one for one, far in zip(ids, moved.tolist(), strict=True) if far} == {"<rex>", "<rex>_1", "<rex>_2"}
    less = (features(pipeline, "a (<rex>:0.5) dog on grass") - plain).abs().amax(1) > 1e-6
    assert less[2:5].all()


def test_pictures_follow_the_weights_and_those_of_others_do_not(pipeline):
    def drawn(*texts):
        with weighing(pipeline, texts):
            return sample(pipeline, [words_of(text) for text in texts], [7] * len(texts), steps=2, guidance=3.0)

    plain, weighted = drawn("a <rex> dog")[0], drawn("a (<rex> dog:1.5)")[0]
    assert (plain != weighted).any()
    both = drawn("a cat", "a (<rex> dog:1.5)")
    alone = drawn("a cat")[0]
    assert abs(both[0].astype(int) - alone).max() <= 1
    assert abs(both[1].astype(int) - weighted).max() <= 1
    assert (drawn("a <rex> dog")[0] == plain).all(), "nothing stays behind"
