"""Formats of other programs, a file each.

Each has `ABOUT` in a few words, `write` and `loading_lines`, and loads nothing heavy when it is imported: `cns export`
finds it here. Knows what a program reads. Does not know revisions.
"""
