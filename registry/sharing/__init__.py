"""Sending histories to other machines and getting them back: packs of objects, and a log of ref moves.

Knows objects, refs and bytes on their way. Does not know what a tensor is, nor MLflow: that remote is in
`registry/mirror/`.
"""
