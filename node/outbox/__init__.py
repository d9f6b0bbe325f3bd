"""The outbox: from a queued operation to signed bytes in the database, and on to the network.

submit      queued operations are simulated, get their nonce, are signed and stored, in one commit
deadlines   what falls due is queued without anybody asking
broadcast   stored bytes go to the network, and go again until a block holds them
requests    what the platform's staff asks for: other bytes for a nonce, or another nonce

Money rests on one order of steps: the bytes are durable before anybody else sees them, and for an
operation there are never other bytes than those, unless people ask for it. Whether a transaction
took effect is only ever read off the chain, by the indexer; an answer to a broadcast proves
nothing.
"""

from node.outbox.broadcast import Broadcaster
from node.outbox.deadlines import Deadlines
from node.outbox.requests import Requests
from node.outbox.submit import Submitter

__all__ = ["Broadcaster", "Deadlines", "Requests", "Submitter"]
