"""Webhooks: events, posted to where a merchant wants them.

queue       which event goes to which endpoint, in which order (database only)
addresses   where nothing may be posted to
sender      one signed POST
deliverer   the worker's loop over the three
"""
