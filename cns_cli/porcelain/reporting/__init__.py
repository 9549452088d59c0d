"""A lineage on one page.

Knows stored figures, words and drawings. Does not know how anything is computed, but for `fill`, which has it done.
"""
