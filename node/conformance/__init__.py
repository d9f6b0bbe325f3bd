"""Whether a running deployment keeps the rules of the API, found out through HTTP alone."""
