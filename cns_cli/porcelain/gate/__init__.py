"""What may be lost, who decides so, and the answer in the formats of CI.

Knows limits, intervals and verdicts. Does not know how a number is made.
"""
