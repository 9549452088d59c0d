"""What the programs that pip installs make of exports: a reader a program, and what is written for them."""

STEPS, GUIDANCE, SEED = 4, 7.5, 3
"""Of every picture here."""
