"""Formats of other programs, a file each.

Knows what a program reads: each module has `ABOUT` in a few words, `write` and `loading_lines`, loads nothing heavy
when it is imported, and is found here by `cns export`. Does not know revisions.
"""
