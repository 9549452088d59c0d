#!/usr/bin/env bash
# transformers 5.23.0, torch 2.13.0 (Python 3.11, CPU): a CLIP text model with `eos_token_id: 2` in its config (as published up
# to 2023: Stable Diffusion 1.x, both encoders of Stable Diffusion XL) takes its pooled vector at the largest id of the prompt.
# That is the end of text until a token is added to the tokenizer: added ids are larger. A prompt with a learned token (textual
# inversion, a new concept's name) is then pooled at that token, and as attention is causal, no word after it counts. Nothing
# is said, and the states of the single tokens are right. Stable Diffusion XL's UNet is given this vector.
#
# Output seen, pooled vectors of two prompts that differ after the added token, and where they are taken:
#   eos_token_id 2, "a dog at sea" / "a dog at night": different, at the end of text
#   eos_token_id 2, "a <new> at sea" / "a <new> at night": equal, at the added token
#   eos_token_id of the tokenizer, "a dog at sea" / "a dog at night": different, at the end of text
#   eos_token_id of the tokenizer, "a <new> at sea" / "a <new> at night": different, at the end of text
#
# What helps: the tokenizer's `eos_token_id` in the config before the model is made. A model that is loaded keeps its own copy:
# changing `model.config` later changes nothing, `model.text_model.eos_token_id` does.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "transformers==5.23.0" "torch==2.13.0" "numpy==2.4.6" 2>/dev/null
cat >"$work/pool.py" <<'PYTHON'
from string import ascii_lowercase

import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

letters = [letter + end for end in ("", "</w>") for letter in ascii_lowercase]
names = [*letters, "<|startoftext|>", "<|endoftext|>"]  # CLIP's order: the end of text is the last one


@torch.no_grad()
def look(named, noun, change=lambda model: None):
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer(vocab={name: at for at, name in enumerate(names)}, merges=[])
    config = CLIPTextConfig(
        vocab_size=len(names),
        hidden_size=32,
        intermediate_size=64,
        projection_dim=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=24,
        bos_token_id=0,
        eos_token_id=2 if named == "2" else tokenizer.eos_token_id,
    )
    model = CLIPTextModelWithProjection(config).eval()
    change(model)
    assert tokenizer.add_tokens(["<new>"]) == 1
    added = tokenizer.convert_tokens_to_ids("<new>")
    assert added == tokenizer.eos_token_id + 1 == len(names)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    prompts = [f"a {noun} at {place}" for place in ("sea", "night")]
    ids = tokenizer(prompts, padding="max_length", max_length=24, return_tensors="pt").input_ids
    out = model(ids)
    at = {"the end of text": (ids == tokenizer.eos_token_id).int().argmax(1), "the added token": ids.argmax(1)}
    projected = {place: model.text_projection(out.last_hidden_state[[0, 1], where]) for place, where in at.items()}
    where = next(place for place, vectors in projected.items() if torch.allclose(vectors, out.text_embeds, atol=1e-6))
    same = "equal" if torch.allclose(*out.text_embeds, atol=1e-6) else "different"
    return f'"{prompts[0]}" / "{prompts[1]}": {same}, at {where}'


for named in ("2", "of the tokenizer"):
    for noun in ("dog", "<new>"):
        print(f"eos_token_id {named}, {look(named, noun)}")
end = names.index("<|endoftext|>")
assert "added token" in look("2", "<new>", lambda model: setattr(model.config, "eos_token_id", end))
assert "end of text" in look("2", "<new>", lambda model: setattr(model.text_model, "eos_token_id", end))
PYTHON
"$work/env/bin/python" "$work/pool.py" | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
eos_token_id 2, "a dog at sea" / "a dog at night": different, at the end of text
eos_token_id 2, "a <new> at sea" / "a <new> at night": equal, at the added token
eos_token_id of the tokenizer, "a dog at sea" / "a dog at night": different, at the end of text
eos_token_id of the tokenizer, "a <new> at sea" / "a <new> at night": different, at the end of text
SEEN
echo "as it was seen"
