"""Measurements of the whole tool, as a user runs it: `nox -s bench [-- NAME …] [--quick]`.

One module a subject with one function `run(quick) -> Report`; a report is printed as tables and kept as
`docs/benchmarks/NAME.json`, from which the tables in the docs are made. Nothing here is imported by the packages.
"""
