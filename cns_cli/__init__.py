"""The shell of `cns`: it parses, calls and prints. Method and memory meet in `cns_cli.porcelain` alone."""

__version__ = "0.1.0"
