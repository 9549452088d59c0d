"""Formats of other programs, a file each.

Knows what a program reads. Does not know revisions.
"""
