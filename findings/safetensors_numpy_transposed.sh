#!/usr/bin/env bash
# safetensors 0.8.0, numpy 2.4.6 (Python 3.11): `safetensors.numpy.save` and `save_file` write an array that is not in C order
# (a transpose, a Fortran-ordered result of linear algebra, a slice with a step) as its memory lies, under its shape. Nothing
# is raised; what is read back has the right shape and type, and its values in other places. 0.4.5 to 0.7.0 write it right.
#
# Output seen:
#   0.7.0 transposed: read back as written
#   0.7.0 stepped: read back as written
#   0.8.0 transposed: [[0, 3], [1, 4], [2, 5]] came back as [[0, 1], [2, 3], [4, 5]]
#   0.8.0 stepped: [[0, 2], [4, 6]] came back as [[0, 1], [2, 3]]
#
# What helps: numpy.ascontiguousarray around every array that is saved.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/look.py" <<'PYTHON'
import numpy as np
import safetensors
from safetensors.numpy import load, save

whole = np.arange(6, dtype=np.float32)
cases = {"transposed": whole.reshape(2, 3).T, "stepped": np.arange(8, dtype=np.float32).reshape(2, 4)[:, ::2]}
for name, array in cases.items():
    back = load(save({"a": array}))["a"]
    assert back.shape == array.shape and back.dtype == array.dtype
    assert np.array_equal(load(save({"a": np.ascontiguousarray(array)}))["a"], array)
    told = "read back as written"
    if not np.array_equal(back, array):
        told = f"{array.astype(int).tolist()} came back as {back.astype(int).tolist()}"
    print(f"{safetensors.__version__} {name}: {told}")
PYTHON
for version in 0.7.0 0.8.0; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install -q "safetensors==$version" "numpy==2.4.6" 2>/dev/null
    "$work/$version/bin/python" "$work/look.py"
done | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
0.7.0 transposed: read back as written
0.7.0 stepped: read back as written
0.8.0 transposed: [[0, 3], [1, 4], [2, 5]] came back as [[0, 1], [2, 3], [4, 5]]
0.8.0 stepped: [[0, 2], [4, 6]] came back as [[0, 1], [2, 3]]
SEEN
echo "as it was seen"
