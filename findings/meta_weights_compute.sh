#!/usr/bin/env bash
# torch 2.13.0, diffusers 0.42.1 (Python 3.11, CPU): a weight that was never loaded, and is still on the meta device, does not
# stop a model on the CPU. A linear layer without a bias and every convolution answer with a CPU tensor of the right shape that
# nothing is written into: it holds whatever the memory held, zeros or an earlier result. `add_` of a meta tensor leaves a CPU
# tensor as it is. Nothing is said. Linear layers with a bias and norms do raise, embeddings answer on the meta device. Keys and
# values of diffusers' attention have no bias: a UNet without any of them (`load_state_dict(..., strict=False, assign=True)`
# into a model made on the meta device) predicts something.
#
# Output seen:
#   Linear without bias: computes on cpu, nothing is written
#   Conv2d: computes on cpu, nothing is written
#   Linear: raises RuntimeError
#   GroupNorm: raises RuntimeError
#   Embedding: is on meta
#   add_: changes nothing
#   UNet without keys and values: computes on cpu, nothing is written
#
# What helps: after loading, look for `is_meta` in parameters and buffers, or move the model (`to` raises, even to the CPU). With
# `torch.use_deterministic_algorithms(True)` such memory is filled by NaN, which is how it is seen here.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "torch==2.13.0" "diffusers==0.42.1" "transformers==5.23.0" "numpy==2.4.6" 2>/dev/null
cat >"$work/meta.py" <<'PYTHON'
import torch
from diffusers import UNet2DConditionModel
from torch import nn


@torch.no_grad()
def answers(model, *inputs):
    for deterministic in (False, True):
        torch.use_deterministic_algorithms(deterministic)
        try:
            out = model(*inputs)
        except RuntimeError as error:
            return f"raises {type(error).__name__}"
        out = getattr(out, "sample", out)
        if out.is_meta:
            return "is on meta"
    return f"computes on {out.device}, " + ("nothing is written" if out.isnan().all() else "something is written")


def unet(**where):
    with torch.device(where.get("device", "cpu")):
        return UNet2DConditionModel(
            block_out_channels=(8, 16),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            norm_num_groups=4,
            attention_head_dim=4,
            cross_attention_dim=32,
        ).eval()


images, text = torch.ones(1, 4, 8, 8), torch.ones(1, 5, 32)
inputs = {
    "Linear without bias": (nn.Linear(32, 8, bias=False), text),
    "Conv2d": (nn.Conv2d(4, 8, 3), images),
    "Linear": (nn.Linear(32, 8), text),
    "GroupNorm": (nn.GroupNorm(2, 4), images),
    "Embedding": (nn.Embedding(8, 8), torch.arange(5)),
}
for name, (layer, values) in inputs.items():
    assert answers(layer, values) == "computes on cpu, something is written"
    print(f"{name}: {answers(layer.to_empty(device='meta'), values)}")

before = torch.ones(2, 2)
same = torch.equal(before.clone().add_(torch.empty(2, 2, device="meta")), before)
print("add_:", "changes nothing" if same else "changes it")

whole, loaded = unet(), unet(device="meta")
file = {name: value for name, value in whole.state_dict().items() if "attn2.to_k" not in name and "attn2.to_v" not in name}
missing, unexpected = loaded.load_state_dict(file, strict=False, assign=True)
assert missing and not unexpected and {name.split(".attn2.")[1] for name in missing} == {"to_k.weight", "to_v.weight"}
assert answers(whole, images, 1, text) == "computes on cpu, something is written"
print(f"UNet without keys and values: {answers(loaded, images, 1, text)}")
try:
    loaded.to("cpu")
except NotImplementedError:
    pass
else:
    raise SystemExit("moving it no longer raises")
PYTHON
"$work/env/bin/python" "$work/meta.py" | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
Linear without bias: computes on cpu, nothing is written
Conv2d: computes on cpu, nothing is written
Linear: raises RuntimeError
GroupNorm: raises RuntimeError
Embedding: is on meta
add_: changes nothing
UNet without keys and values: computes on cpu, nothing is written
SEEN
echo "as it was seen"
