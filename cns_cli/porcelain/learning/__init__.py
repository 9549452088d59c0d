"""From a folder of photos to objects that are ready to commit.

Knows subjects, earlier concepts and interrupted trainings. Does not know command lines or MLflow.
"""
