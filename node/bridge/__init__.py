"""The bridge: the HTTP face of the node, for shops and for members' wallets.

A request becomes rows in one transaction (the resource, the operation that will carry it out, the
idempotency key and an event) and is answered after the commit. The chain is the worker's: what a
handler writes is an intention, and only the indexer says that it was done.
"""
