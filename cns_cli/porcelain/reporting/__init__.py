"""A lineage on one page.

Knows stored figures, words and drawings. Computes nothing, but for `fill`, which makes what is missing.
"""
