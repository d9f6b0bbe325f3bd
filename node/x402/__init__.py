"""For a shop's own server: routes that are paid for by the call, in Plaza Coin, over x402.

It talks to the bridge over HTTP alone, as any server does, and imports nothing else of the node.
"""

from node.x402.paywall import Paywall, Receipt

__all__ = ["Paywall", "Receipt"]
