"""Bringing the concepts of two commits together: merge, cherry-pick and revert are one three-way merge per name.

Knows sides, conflicts, what a person decided about them, and what concepts do to each other in the outcome.
Does not know how a concept is trained, nor limits or verdicts.
"""
