"""What a tree's pictures show, as numbers, and where these are stored.

Knows protocols, images, features and scores. Does not know limits or verdicts.
"""
