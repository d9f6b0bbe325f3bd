"""The marketplace's side: past orders, read or generated, driven through the bridge's HTTP API.

orders (files) or generate (seeded) → plan (what happens when) → replay (over HTTP) → summary.
"""
