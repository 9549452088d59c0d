#!/usr/bin/env bash
# lycoris-lora 4.1.3, torch 2.13.0 (Python 3.11, CPU): of a LoHa or a LoKr, `merge_to` writes into the weights what the forward
# pass adds times the scale alpha/rank once more. `get_weight` has the scale in it already, and `get_diff_weight`, which merging
# reads, applies it again. Nothing is raised, and where alpha is the rank nothing is seen; with the default alpha of 1 at rank
# 16 the merged model has a sixteenth of what was trained. LoRA merges what it adds. A network that is read from a file and
# merged without a forward pass (`create_lycoris_from_weights`) is as weak. A LoKr of two full matrices has no scale.
#
# Output seen, merged change of the weights / change of the forward pass, at rank 4:
#   alpha 4: lora 1.0000 loha 1.0000 lokr 1.0000
#   alpha 2: lora 1.0000 loha 0.5000 lokr 0.5000
#   alpha 1: lora 1.0000 loha 0.2500 lokr 0.2500
#   alpha 8: lora 1.0000 loha 2.0000 lokr 2.0000
#
# What helps: `merge_to(multiplier / module.scale)` of these two (where weights are not decomposed), or adding
# `get_weight(shape) * multiplier` to the weights.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "lycoris-lora==4.1.3" "torch==2.13.0" "numpy==2.4.6" 2>/dev/null
cat >"$work/merge.py" <<'PYTHON'
import logging

import torch
from lycoris import create_lycoris, create_lycoris_from_weights

logging.disable(logging.CRITICAL)
torch.manual_seed(0)
rank = 4


@torch.no_grad()
def ratio(algo, alpha, mend=False):
    model = torch.nn.Sequential(torch.nn.Linear(64, 64, bias=False))
    before, picks_columns = model[0].weight.clone(), torch.eye(64)
    network = create_lycoris(model, 1.0, linear_dim=rank, linear_alpha=alpha, algo=algo, factor=4)
    network.apply_to()
    for parameter in network.parameters():
        parameter.normal_()  # as if it were trained: one factor starts at zero
    added = model(picks_columns).T - before
    weights = network.state_dict()
    network.restore()
    assert torch.equal(model(picks_columns).T, before)
    read, _ = create_lycoris_from_weights(1.0, None, model, weights)
    for merging in (network, read):
        model[0].weight.copy_(before)
        merging.merge_to(1 / merging.loras[0].scale if mend else 1.0)
        merged = model[0].weight - before
        found = (merged * added).sum() / (added * added).sum()
        torch.testing.assert_close(merged, found * added, rtol=1e-3, atol=1e-3 * added.abs().max().item())
        yield f"{found:.4f}"


for alpha in (4, 2, 1, 8):
    told = []
    for algo in ("lora", "loha", "lokr"):
        trained, read = ratio(algo, alpha)
        assert trained == read
        assert algo == "lora" or set(ratio(algo, alpha, mend=True)) == {"1.0000"}
        told.append(f"{algo} {trained}")
    print(f"alpha {alpha}:", *told)
PYTHON
"$work/env/bin/python" "$work/merge.py" | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
alpha 4: lora 1.0000 loha 1.0000 lokr 1.0000
alpha 2: lora 1.0000 loha 0.5000 lokr 0.5000
alpha 1: lora 1.0000 loha 0.2500 lokr 0.2500
alpha 8: lora 1.0000 loha 2.0000 lokr 2.0000
SEEN
echo "as it was seen"
