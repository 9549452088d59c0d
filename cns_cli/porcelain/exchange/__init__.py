"""Formats of other programs: one row of `formats.FORMATS` each, with the function that writes it.

Knows what a program reads, and loads nothing heavy when it is imported. Does not know revisions.
"""
