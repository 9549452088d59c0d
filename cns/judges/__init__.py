"""Who looks at pictures: the encoders that compare them, and what they say a picture shows.

Knows images and their features. Does not know commits, nor how a concept is trained.
"""
