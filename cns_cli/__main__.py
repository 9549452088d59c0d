"""Lets `python -m cns_cli` be the same program as `cns`."""

from cns_cli.start import main

main()
