"""The torture suite: what is tried against a registry, and how much of it was lost. `python -m tests.torture -h`."""
