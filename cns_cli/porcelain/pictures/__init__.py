"""A request for pictures, and what a picture says of itself.

Knows prompts, regions, sheets and image files. Does not know scores.
"""
