"""What each verb does, callable from Python: one module a verb, options in, a result out, nothing printed.

Porcelain is where the method (`cns`) and the registry (`registry`) meet; neither knows of the other. A function here
takes one frozen options object (`cns_cli.porcelain.options`) and returns one frozen result, whose `to_json()` is what
`--json` prints. It reads no environment and writes nothing to the terminal: where work is long, a `Progress` comes in.
"""
