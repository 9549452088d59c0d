"""Adapters of other trainers: LoRA and its kin, whole changes and token vectors, read as changes of a base's matrices.

Knows dialects, their names and their scales, in float64. Does not know torch, concepts or where they are stored.
"""
