"""One module a verb: the signature is the interface, the body is fetch, shape, print. Porcelain does the work."""
