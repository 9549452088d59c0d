"""MLflow: every commit a run, every evaluation a metric, every ref a log; and the way back from there.

Knows the object store and MLflow, which it alone imports. Does not know what a tensor is, nor the rest of the disk.
"""
