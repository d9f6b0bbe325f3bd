"""The chain: JSON-RPC client, engines, contract codec, signed messages, deployment.

Knows nothing of the database or of HTTP requests to the bridge.
"""
