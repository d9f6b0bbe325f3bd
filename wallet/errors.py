"""Everything the wallet refuses or fails at, as exceptions whose messages are for people."""

from __future__ import annotations


class WalletError(Exception):
    """Something was refused or failed; nothing was sent unless the message says so."""

    code = "error"


class InvalidInput(WalletError):
    """An amount, address, memo, name or file that cannot be what was meant."""

    code = "invalid_input"


class UnknownName(WalletError):
    """No key, network or purchase of that name."""

    code = "not_found"


class AlreadyExists(WalletError):
    """The name is taken; nothing is ever overwritten."""

    code = "already_exists"


class PasswordError(WalletError):
    """The password is missing, wrong or too short."""

    code = "password"


class CannotSign(WalletError):
    """There is no key here for the address."""

    code = "cannot_sign"


class NetworkError(WalletError):
    """An endpoint cannot be reached or does not answer as it should."""

    code = "network"


class WrongChain(WalletError):
    """The endpoint serves another chain than the profile names."""

    code = "wrong_chain"


class RpcError(WalletError):
    """The chain's endpoint answered a call with an error.

    `rpc_code` and `data` are the answer's own; `data` is the revert data where there is some.
    """

    code = "rpc_error"

    def __init__(self, method: str, rpc_code: int, message: str, data: str | None) -> None:
        super().__init__(f"{method}: {message}")
        self.rpc_code = rpc_code
        self.message = message
        self.data = data


class Refused(WalletError):
    """The platform's rules would not let this happen: membership, freeze, pause, order state."""

    code = "refused"


class InsufficientFunds(WalletError):
    """The account holds less coin than the amount."""

    code = "insufficient_funds"


class WouldRevert(WalletError):
    """A simulation of the transaction was reverted by the contract; nothing was sent."""

    code = "would_revert"


class TermsMismatch(WalletError):
    """A payment request does not say what its order hash, this network or this key says."""

    code = "terms_mismatch"


class IdempotencyConflict(WalletError):
    """The idempotency key was used before for something else."""

    code = "idempotency_conflict"


class JournalError(WalletError):
    """The journal cannot be read or written; what is not in it is never sent."""

    code = "journal"


class Superseded(WalletError):
    """Another transaction used the nonce: this one can never land."""

    code = "superseded"
