#!/usr/bin/env bash
# torch 2.13.0 (CPU, Python 3.11): a convolution whose weight is frozen keeps its input for the backward pass all the same,
# though only the gradient of the weight would need it. `torch.nn.Linear` with a frozen weight keeps nothing but the weight.
# Where adapters or a few weights of a UNet are trained, every frozen convolution before them holds an activation for nothing,
# and `requires_grad_(False)` does not help. What the input's gradient needs is the weight and the input's shape.
#
# Output seen ("gradient" is that of the input):
#   Linear frozen: input kept False
#   Conv1d frozen: input kept True
#   Conv2d frozen: input kept True
#   ConvTranspose2d frozen: input kept True
#   a function that keeps the weight alone: input kept False, gradient the same to the bit
#
# What helps: an autograd function whose backward is `torch.nn.grad.conv2d_input(shape, weight, slope, …)`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/look.py" <<'PYTHON'
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_input


def keeps_input(call, values):
    kept = []
    with saved_tensors_hooks(lambda one: kept.append(one.data_ptr()) or one, lambda one: one):
        answer = call(values)
    return values.data_ptr() in kept, torch.autograd.grad(answer.square().sum(), values)[0]


class Sparing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, weight, bias):
        ctx.save_for_backward(weight)
        ctx.shape = values.shape
        return conv2d(values, weight, bias, padding=1)

    @staticmethod
    def backward(ctx, slope):
        return conv2d_input(ctx.shape, ctx.saved_tensors[0], slope, padding=1), None, None


torch.manual_seed(0)
layers = {
    torch.nn.Linear(16, 16): (512, 16),
    torch.nn.Conv1d(16, 16, 3, padding=1): (2, 16, 256),
    torch.nn.Conv2d(16, 16, 3, padding=1): (2, 16, 16, 16),
    torch.nn.ConvTranspose2d(16, 16, 3, padding=1): (2, 16, 16, 16),
}
for layer, shape in layers.items():
    layer.requires_grad_(False)
    kept, _ = keeps_input(layer, torch.randn(shape, requires_grad=True))
    print(f"{type(layer).__name__} frozen: input kept {kept}")
layer, values = list(layers)[2], torch.randn(2, 16, 16, 16, requires_grad=True)
kept, gradient = keeps_input(lambda one: Sparing.apply(one, layer.weight, layer.bias), values)
same = torch.equal(gradient, keeps_input(layer, values)[1])
print(f"a function that keeps the weight alone: input kept {kept}, gradient {'the same to the bit' if same else 'another'}")
PYTHON
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q torch==2.13.0 numpy==2.4.6 2>/dev/null
"$work/env/bin/python" "$work/look.py" | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
Linear frozen: input kept False
Conv1d frozen: input kept True
Conv2d frozen: input kept True
ConvTranspose2d frozen: input kept True
a function that keeps the weight alone: input kept False, gradient the same to the bit
SEEN
echo "as it was seen"
