"""Is everything there, whole and reachable? Checks, repairs, and the collection of what nothing needs.

Knows every file that a registry consists of. Does not know why it was written.
"""
