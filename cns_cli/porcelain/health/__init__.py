"""What fsck and doctor look at beyond the registry: the meaning of blobs, the disk, MLflow's tables.

Knows what is wrong. Does not know how to repair it.
"""
