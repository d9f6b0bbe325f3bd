"""The indexer: logs of canonical blocks become projections. The only writer of "done".

chain_reader  a range of blocks as one consistent read: headers, logs, reverted transactions
ledger        what a transfer of coin was: top-up, release, fee, …
rows          rows of a table in memory, with the undo log of what was changed
projections   blocks → members, ledger, orders, claimables, supply, resources, operations, events
rollback      what lost blocks said is taken back
indexer       the rounds: has the chain gone on, or back?
reconcile     chain and database compared, to the unit
"""
