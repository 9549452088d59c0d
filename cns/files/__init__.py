"""Files that may come from a stranger: bases, photos, captions; sizes and contents are checked before they are used.

Knows what a file may hold and how much of it is read. Does not know torch.
"""
