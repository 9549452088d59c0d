#!/usr/bin/env bash
# transformers 5.23.0, torch 2.13.0 (Python 3.11): the text encoders of PixArt, SD3 and Flux (T5), of Wan (UMT5) and MT5's have
# two embedding layers with one weight. `get_input_embeddings()` gives `shared`, and the encoder reads by `embed_tokens`, so
# that a forward hook on what it gave never runs, made or loaded, and nothing is said. `resize_token_embeddings` puts one layer
# in both places, and from then on the hook of the same program runs: whoever tries it after adding a token sees no fault.
#
# Output seen (how often a hook on `get_input_embeddings()` ran in one forward pass):
#   CLIPTextModel made 1, loaded 1, resized 1
#   T5EncoderModel made 0, loaded 0, resized 1
#   UMT5EncoderModel made 0, loaded 0, resized 1
#   MT5EncoderModel made 0, loaded 0, resized 1
#
# What helps: `model.set_input_embeddings(model.get_input_embeddings())` after loading.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/look.py" <<'PYTHON'
import sys

import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    MT5Config,
    MT5EncoderModel,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)


def runs(model):
    ran = []
    handle = model.get_input_embeddings().register_forward_hook(lambda *_: ran.append(1))
    with torch.no_grad():
        model(torch.tensor([[3, 4, 1]]))
    handle.remove()
    return len(ran)


T5 = {"vocab_size": 32, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
CLIP = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 32}
kinds = [
    (CLIPTextModel, CLIPTextConfig(**CLIP, eos_token_id=1)),
    (T5EncoderModel, T5Config(**T5)),
    (UMT5EncoderModel, UMT5Config(**T5)),
    (MT5EncoderModel, MT5Config(**T5)),
]
for kind, config in kinds:
    made = kind(config).eval()
    made.save_pretrained(f"{sys.argv[1]}/{kind.__name__}")
    loaded = kind.from_pretrained(f"{sys.argv[1]}/{kind.__name__}").eval()
    told = f"{kind.__name__} made {runs(made)}, loaded {runs(loaded)}"
    loaded.resize_token_embeddings(40)
    again = runs(loaded)
    model = kind.from_pretrained(f"{sys.argv[1]}/{kind.__name__}").eval()
    model.set_input_embeddings(model.get_input_embeddings())
    assert runs(model) == 1
    print(f"{told}, resized {again}")
PYTHON
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q torch==2.13.0 transformers==5.23.0 numpy==2.4.6 2>/dev/null
"$work/env/bin/python" "$work/look.py" "$work" 2>/dev/null | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
CLIPTextModel made 1, loaded 1, resized 1
T5EncoderModel made 0, loaded 0, resized 1
UMT5EncoderModel made 0, loaded 0, resized 1
MT5EncoderModel made 0, loaded 0, resized 1
SEEN
echo "as it was seen"
