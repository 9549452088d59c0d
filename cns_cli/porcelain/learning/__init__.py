"""From a folder of photos, or from nouns that shall go, to objects that are ready to commit.

Knows subjects, earlier concepts, erasures and interrupted trainings. Does not know command lines or MLflow.
"""
