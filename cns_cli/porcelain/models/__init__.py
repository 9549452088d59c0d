"""A registry and its base model, opened together, and what stored objects mean.

Knows objects, tensors and where a base lies. Does not know prompts of judges, figures or limits.
"""
