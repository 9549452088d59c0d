"""Stored objects as a reader sees them.

Knows objects, records and deltas. Does not know torch.
"""
