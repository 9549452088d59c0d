"""The memory of `cns`: objects, commits, refs and their mirror in MLflow.

Bytes, ids, parents and names. This package does not know what a tensor is: it imports no torch, no numpy and no
safetensors, and MLflow only where a commit is mirrored. Import from the module that defines a name.
"""
