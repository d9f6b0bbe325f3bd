"""EIP-3009 authorizations, EIP-2612 permits, EIP-1271 accounts, EIP-5267 domain."""

from __future__ import annotations

import pytest
from eth_account import Account
from eth_utils import keccak

from tests.contracts.chain import CHAIN_ID, ZERO_ADDRESS, Reverted
from tests.contracts.conftest import BALANCE, BUYER, COIN
from tests.contracts.signing import Signature, sign_cancel, sign_permit, sign_transfer

FOREVER = 2**256 - 1
NONCE = keccak(text="nonce 1")
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

# As published in the EIPs.
TRANSFER_TYPEHASH = "7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267"
RECEIVE_TYPEHASH = "d099cc98ef71107a616c4f0f941f04c322d8e254fe26b3c6668db87aae413de8"
CANCEL_TYPEHASH = "158b0a9edf7a828aad02f63cd515c68ef2f50ba807396f6d12842833a1597429"
PERMIT_TYPEHASH = "6e71edae12b1b97f4d1f60370fef10105fa2faae0126114a169c64845d6126c9"

every_kind = pytest.mark.parametrize("receive", [False, True], ids=["transfer", "receive"])
every_form = pytest.mark.parametrize("packed", [False, True], ids=["v,r,s", "bytes"])


@pytest.fixture
def authorization(coin, accounts):
    """A call with the buyer's authorization of 5 coin to the seller, as signed or tampered with.

    Returns the function and who sends it: anyone, or the seller for a receive authorization.
    """

    def build(
        *,
        receive,
        packed,
        signature=None,
        nonce=NONCE,
        valid_after=0,
        valid_before=FOREVER,
        sent=None,
    ):
        to, value = accounts.seller.address, 5 * COIN
        window = {"valid_after": valid_after, "valid_before": valid_before}
        signature = signature or sign_transfer(
            accounts.buyer, coin, to, value, nonce, receive=receive, **window
        )
        terms = {
            "from": accounts.buyer.address,
            "to": to,
            "value": value,
            "validAfter": valid_after,
            "validBefore": valid_before,
            "nonce": nonce,
            **(sent or {}),
        }
        name = "receiveWithAuthorization" if receive else "transferWithAuthorization"
        last = [signature.packed] if packed else signature.vrs
        by = accounts.seller if receive else accounts.stranger
        return coin.functions[name](*terms.values(), *last), by

    return build


def word(value: int | str) -> bytes:
    return (int(value, 16) if isinstance(value, str) else value).to_bytes(32)


# ------------------------------------------------------------------- EIP-3009: transferring


@every_kind
@every_form
def test_an_authorization_moves_the_signers_coin_once(
    receive, packed, chain, coin, accounts, authorization
):
    function, by = authorization(receive=receive, packed=packed)
    state = coin.functions.authorizationState(accounts.buyer.address, NONCE)
    assert chain.call(state) is False
    receipt = chain.send(function, by=by)
    used = {"authorizer": accounts.buyer.address, "nonce": NONCE}
    assert receipt.event(coin, "AuthorizationUsed") == used
    assert receipt.event(coin, "Transfer") == {
        "from": accounts.buyer.address,
        "to": accounts.seller.address,
        "value": 5 * COIN,
    }
    assert chain.call(coin.functions.balanceOf(accounts.buyer.address)) == BALANCE - 5 * COIN
    assert chain.call(state) is True
    chain.reverts(function, by, "AuthorizationAlreadyUsed", **used)


@every_kind
@every_form
def test_an_authorization_holds_strictly_inside_its_window(receive, packed, chain, authorization):
    after, before = chain.time + 10, chain.time + 20
    function, by = authorization(
        receive=receive, packed=packed, valid_after=after, valid_before=before
    )
    for now, error in [
        (after - 1, "AuthorizationNotYetValid"),
        (after, "AuthorizationNotYetValid"),
        (after + 1, None),
        (before - 1, None),
        (before, "AuthorizationExpired"),
        (before + 1, "AuthorizationExpired"),
    ]:
        chain.travel_to(now)
        if error is None:
            chain.call(function, by=by)
        else:
            chain.reverts(function, by, error, nowTime=now)


@every_form
@every_kind
@pytest.mark.parametrize("field", ["from", "to", "value", "validAfter", "validBefore", "nonce"])
def test_no_signed_term_can_be_changed(
    receive, packed, field, chain, coin, accounts, authorization
):
    changed = {
        "from": accounts.seller2.address,
        "to": accounts.seller2.address,
        "value": 5 * COIN + 1,
        "validAfter": 1,
        "validBefore": FOREVER - 1,
        "nonce": keccak(text="nonce 2"),
    }
    function, by = authorization(receive=receive, packed=packed, sent={field: changed[field]})
    by = accounts.seller2 if receive and field == "to" else by
    signer = changed["from"] if field == "from" else accounts.buyer.address
    chain.reverts(function, by, "InvalidSignature", signer=signer)


@every_form
@every_kind
def test_one_kind_of_authorization_is_not_another(
    receive, packed, chain, coin, accounts, authorization
):
    other = sign_transfer(
        accounts.buyer, coin, accounts.seller.address, 5 * COIN, NONCE, receive=not receive
    )
    function, by = authorization(receive=receive, packed=packed, signature=other)
    chain.reverts(function, by, "InvalidSignature", signer=accounts.buyer.address)


@every_form
@pytest.mark.parametrize(
    "domain", [{"chain_id": 1}, {"name": "USD Coin"}, {"contract": True}], ids=str
)
def test_a_signature_for_another_domain_is_refused(
    packed, domain, chain, coin, manager, accounts, authorization
):
    contract = manager if domain.get("contract") else coin
    domain = {key: value for key, value in domain.items() if key != "contract"}
    elsewhere = sign_transfer(
        accounts.buyer, contract, accounts.seller.address, 5 * COIN, NONCE, **domain
    )
    function, by = authorization(receive=False, packed=packed, signature=elsewhere)
    chain.reverts(function, by, "InvalidSignature", signer=accounts.buyer.address)


@every_form
def test_another_members_signature_is_refused(packed, chain, coin, accounts, authorization):
    wrong = sign_transfer(
        *(accounts.buyer2, coin, accounts.seller.address, 5 * COIN, NONCE),
        from_=accounts.buyer.address,
    )
    function, by = authorization(receive=False, packed=packed, signature=wrong)
    chain.reverts(function, by, "InvalidSignature", signer=accounts.buyer.address)


@every_form
@pytest.mark.parametrize("v", [0, 1, 29, 255])
def test_no_unrecoverable_signature_passes_for_the_zero_address(
    v, packed, chain, accounts, authorization
):
    broken = Signature(v, bytes(32), bytes(32))
    sent = {"from": ZERO_ADDRESS}
    function, by = authorization(receive=False, packed=packed, signature=broken, sent=sent)
    chain.reverts(function, by, "InvalidSignature", signer=ZERO_ADDRESS)


@every_form
def test_the_other_half_of_the_curve_is_refused(packed, chain, coin, accounts, authorization):
    good = sign_transfer(accounts.buyer, coin, accounts.seller.address, 5 * COIN, NONCE)
    flipped = (CURVE_ORDER - int.from_bytes(good.s)).to_bytes(32)
    function, by = authorization(
        receive=False, packed=packed, signature=Signature(55 - good.v, good.r, flipped)
    )
    chain.reverts(function, by, "InvalidSignature", signer=accounts.buyer.address)


@pytest.mark.parametrize("length", [0, 64, 66])
def test_signatures_of_another_length_are_refused(length, chain, coin, accounts):
    seller = accounts.seller.address
    signature = sign_transfer(accounts.buyer, coin, seller, COIN, NONCE).packed
    function = coin.functions.transferWithAuthorization(
        *(accounts.buyer.address, seller, COIN, 0, FOREVER, NONCE),
        (signature + b"\0")[:length],
    )
    chain.reverts(function, accounts.stranger, "InvalidSignature", signer=accounts.buyer.address)


@every_form
def test_only_the_receiver_uses_a_receive_authorization(packed, chain, accounts, authorization):
    function, _ = authorization(receive=True, packed=packed)
    for caller in (accounts.stranger, accounts.buyer, accounts.operator):
        chain.reverts(
            function,
            caller,
            "CallerNotReceiver",
            caller=caller.address,
            receiver=accounts.seller.address,
        )


def test_an_authorization_that_failed_can_be_used_later(chain, coin, accounts, authorization):
    function, by = authorization(receive=False, packed=True)
    chain.send(coin.functions.pause(), by=accounts.operator)
    with pytest.raises(Reverted, match="CoinPaused"):
        chain.send(function, by=by)
    chain.send(coin.functions.unpause(), by=accounts.operator)
    chain.send(function, by=by)


# ---------------------------------------------------------------------- EIP-3009: nonces


@pytest.mark.parametrize(
    "nonce",
    [word(0), word(255), word(256), word(2**255), word(2**256 - 1), NONCE],
    ids=["0", "255", "256", "2^255", "2^256-1", "hash"],
)
def test_any_32_bytes_are_a_nonce_and_use_up_no_other(nonce, chain, coin, accounts, authorization):
    function, by = authorization(receive=False, packed=False, nonce=nonce)
    chain.send(function, by=by)
    number = int.from_bytes(nonce)
    state = coin.functions.authorizationState
    assert chain.call(state(accounts.buyer.address, nonce))
    assert not chain.call(state(accounts.seller.address, nonce))
    for other in {number ^ 1, number ^ 128, number ^ 256, number ^ (1 << 255)}:
        assert not chain.call(state(accounts.buyer.address, word(other)))


def test_counted_nonces_work_in_any_order(chain, coin, accounts, authorization):
    spent = [5, 0, 255, 256, 1]
    for number in spent:
        function, by = authorization(receive=False, packed=True, nonce=word(number))
        chain.send(function, by=by)
    state = coin.functions.authorizationState
    used = [n for n in range(258) if chain.call(state(accounts.buyer.address, word(n)))]
    assert used == sorted(spent)
    for number in spent:
        function, by = authorization(receive=False, packed=True, nonce=word(number))
        chain.reverts(function, by, "AuthorizationAlreadyUsed", nonce=word(number))


@every_form
def test_a_canceled_authorization_is_never_used(packed, chain, coin, accounts, authorization):
    signature = sign_cancel(accounts.buyer, coin, NONCE)
    last = [signature.packed] if packed else signature.vrs
    cancel = coin.functions.cancelAuthorization(accounts.buyer.address, NONCE, *last)
    receipt = chain.send(cancel, by=accounts.stranger)
    used = {"authorizer": accounts.buyer.address, "nonce": NONCE}
    assert receipt.event(coin, "AuthorizationCanceled") == used
    assert chain.call(coin.functions.authorizationState(accounts.buyer.address, NONCE))
    chain.reverts(cancel, accounts.stranger, "AuthorizationAlreadyUsed", **used)
    for receive in (False, True):
        function, by = authorization(receive=receive, packed=packed)
        chain.reverts(function, by, "AuthorizationAlreadyUsed", **used)


@every_form
def test_a_used_authorization_cannot_be_canceled(packed, chain, coin, accounts, authorization):
    function, by = authorization(receive=False, packed=packed)
    chain.send(function, by=by)
    signature = sign_cancel(accounts.buyer, coin, NONCE)
    last = [signature.packed] if packed else signature.vrs
    cancel = coin.functions.cancelAuthorization(accounts.buyer.address, NONCE, *last)
    chain.reverts(cancel, accounts.stranger, "AuthorizationAlreadyUsed", nonce=NONCE)


@every_form
def test_only_the_authorizer_cancels(packed, chain, coin, accounts):
    buyer = accounts.buyer.address
    signature = sign_cancel(accounts.buyer2, coin, NONCE, authorizer=buyer)
    last = [signature.packed] if packed else signature.vrs
    cancel = coin.functions.cancelAuthorization(buyer, NONCE, *last)
    chain.reverts(cancel, accounts.buyer2, "InvalidSignature", signer=buyer)


# ------------------------------------------------------------ vectors, hashed here by hand


def digest_by_hand(coin, typehash: str, *members: bytes) -> bytes:
    """The EIP-712 digest from the EIPs' published constants alone."""
    domain_type = (
        b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    )
    domain = keccak(
        keccak(domain_type)
        + keccak(b"Plaza Coin")
        + keccak(b"1")
        + word(CHAIN_ID)
        + word(coin.address)
    )
    return keccak(b"\x19\x01" + domain + keccak(bytes.fromhex(typehash) + b"".join(members)))


def sign_digest(account, digest: bytes) -> Signature:
    signed = Account.unsafe_sign_hash(digest, account.key)
    return Signature(signed.v, signed.r.to_bytes(32), signed.s.to_bytes(32))


def test_the_domain_is_public_and_exactly_this(chain, coin):
    domain_type = (
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    )
    # keccak256 of the type, of "Plaza Coin" and of "1", then chain 4242 and the address.
    separator = keccak(
        bytes.fromhex("8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f")
        + keccak(text="Plaza Coin")
        + bytes.fromhex("c89efdaa54c0f20c7adf612882df0950f5a951637e0307cdcb4c672f298b8bc6")
        + word(4242)
        + word(coin.address)
    )
    assert keccak(text=domain_type).hex().startswith("8b73c3c6")
    assert chain.call(coin.functions.DOMAIN_SEPARATOR()) == separator
    assert chain.call(coin.functions.eip712Domain()) == (
        *(b"\x0f", "Plaza Coin", "1", CHAIN_ID, coin.address, bytes(32), []),
    )


@every_form
@pytest.mark.parametrize("receive", [False, True])
def test_authorizations_are_hashed_as_the_eip_says(receive, packed, chain, coin, accounts):
    buyer, seller = accounts.buyer.address, accounts.seller.address
    digest = digest_by_hand(
        coin,
        RECEIVE_TYPEHASH if receive else TRANSFER_TYPEHASH,
        *(word(buyer), word(seller), word(123_456), word(7), word(2_000_000_000), NONCE),
    )
    signature = sign_digest(accounts.buyer, digest)
    by_library = sign_transfer(
        *(accounts.buyer, coin, seller, 123_456, NONCE),
        **{"valid_after": 7, "valid_before": 2_000_000_000, "receive": receive},
    )
    assert signature == by_library
    name = "receiveWithAuthorization" if receive else "transferWithAuthorization"
    last = [signature.packed] if packed else signature.vrs
    terms = (buyer, seller, 123_456, 7, 2_000_000_000, NONCE)
    chain.send(coin.functions[name](*terms, *last), by=accounts.seller)
    assert chain.call(coin.functions.balanceOf(seller)) == BALANCE + 123_456


@every_form
def test_cancellations_are_hashed_as_the_eip_says(packed, chain, coin, accounts):
    buyer = accounts.buyer.address
    signature = sign_digest(
        accounts.buyer, digest_by_hand(coin, CANCEL_TYPEHASH, word(buyer), NONCE)
    )
    last = [signature.packed] if packed else signature.vrs
    chain.send(coin.functions.cancelAuthorization(buyer, NONCE, *last), by=accounts.stranger)


def test_permits_are_hashed_as_the_eip_says(chain, coin, accounts):
    buyer, spender = accounts.buyer.address, accounts.stranger.address
    signature = sign_digest(
        accounts.buyer,
        digest_by_hand(
            coin,
            PERMIT_TYPEHASH,
            *(word(buyer), word(spender), word(123_456), word(0), word(2_000_000_000)),
        ),
    )
    permit = coin.functions.permit(buyer, spender, 123_456, 2_000_000_000, *signature.vrs)
    receipt = chain.send(permit, by=accounts.seller)
    approval = {"owner": buyer, "spender": spender, "value": 123_456}
    assert receipt.event(coin, "Approval") == approval
    assert chain.call(coin.functions.allowance(buyer, spender)) == 123_456
    assert chain.call(coin.functions.nonces(buyer)) == 1


# ------------------------------------------------------------------------------- EIP-2612


def test_a_permit_works_once(chain, coin, accounts):
    buyer, spender = accounts.buyer.address, accounts.stranger.address
    signature = sign_permit(accounts.buyer, coin, spender, COIN, 0)
    permit = coin.functions.permit(buyer, spender, COIN, FOREVER, *signature.vrs)
    chain.send(permit, by=accounts.stranger)
    chain.reverts(permit, accounts.stranger, "ERC2612InvalidSigner", owner=buyer)


def test_a_permit_is_good_until_its_deadline_and_no_longer(chain, coin, accounts):
    buyer, spender, deadline = accounts.buyer.address, accounts.stranger.address, chain.time + 10
    signature = sign_permit(accounts.buyer, coin, spender, COIN, 0, deadline=deadline)
    permit = coin.functions.permit(buyer, spender, COIN, deadline, *signature.vrs)
    chain.travel_to(deadline)
    chain.call(permit, by=accounts.stranger)
    chain.travel_to(deadline + 1)
    chain.reverts(permit, accounts.stranger, "ERC2612ExpiredSignature", deadline=deadline)


@pytest.mark.parametrize("field", ["owner", "spender", "value", "deadline"])
def test_no_term_of_a_permit_can_be_changed(field, chain, coin, accounts):
    signature = sign_permit(accounts.buyer, coin, accounts.stranger.address, COIN, 0)
    terms = {
        "owner": accounts.buyer.address,
        "spender": accounts.stranger.address,
        "value": COIN,
        "deadline": FOREVER,
    }
    changed = {
        "owner": accounts.seller.address,
        "spender": accounts.seller.address,
        "value": COIN + 1,
        "deadline": FOREVER - 1,
    }
    terms[field] = changed[field]
    permit = coin.functions.permit(*terms.values(), *signature.vrs)
    chain.reverts(permit, accounts.stranger, "ERC2612InvalidSigner", owner=terms["owner"])


# ------------------------------------------------------------------------------- EIP-1271


@pytest.fixture
def wallet(chain, coin, accounts, test_contracts):
    """A contract account of the buyer's, a member holding 100 coin."""
    contract = chain.deploy(
        test_contracts["ContractWallet"], accounts.buyer.address, by=accounts.stranger
    )
    admission = coin.functions.admit(contract.address, BUYER, 2**40 - 1)
    chain.send(admission, by=accounts.operator)
    chain.send(coin.functions.transfer(contract.address, 100 * COIN), by=accounts.buyer)
    return contract


@every_kind
def test_a_contract_account_authorizes_by_its_own_rule(receive, chain, coin, accounts, wallet):
    seller = accounts.seller.address
    name = "receiveWithAuthorization" if receive else "transferWithAuthorization"
    terms = (wallet.address, seller, 7 * COIN, 0, FOREVER, NONCE)

    def signed_by(account, from_=wallet.address):
        signature = sign_transfer(
            account, coin, seller, 7 * COIN, NONCE, from_=from_, receive=receive
        )
        return coin.functions[name](*terms, signature.packed)

    wrong = signed_by(accounts.buyer2)
    chain.reverts(wrong, accounts.seller, "InvalidSignature", signer=wallet.address)
    # What the owner signed for its own account is not the wallet's: the payer is bound.
    own = signed_by(accounts.buyer, from_=accounts.buyer.address)
    chain.reverts(own, accounts.seller, "InvalidSignature", signer=wallet.address)

    chain.send(signed_by(accounts.buyer), by=accounts.seller)
    assert chain.call(coin.functions.balanceOf(wallet.address)) == 93 * COIN
    again = signed_by(accounts.buyer)
    chain.reverts(again, accounts.seller, "AuthorizationAlreadyUsed", nonce=NONCE)


def test_a_contract_account_cancels_by_its_own_rule(chain, coin, accounts, wallet):
    def signed_by(account):
        signature = sign_cancel(account, coin, NONCE, authorizer=wallet.address)
        return coin.functions.cancelAuthorization(wallet.address, NONCE, signature.packed)

    wrong = signed_by(accounts.buyer2)
    chain.reverts(wrong, accounts.stranger, "InvalidSignature", signer=wallet.address)
    chain.send(signed_by(accounts.buyer), by=accounts.stranger)
    assert chain.call(coin.functions.authorizationState(wallet.address, NONCE))


def test_a_frozen_contract_account_pays_no_more(chain, coin, accounts, wallet):
    chain.send(coin.functions.freeze(wallet.address, NONCE), by=accounts.operator)
    seller = accounts.seller.address
    signature = sign_transfer(accounts.buyer, coin, seller, COIN, NONCE, from_=wallet.address)
    function = coin.functions.transferWithAuthorization(
        *(wallet.address, seller, COIN, 0, FOREVER, NONCE), signature.packed
    )
    chain.reverts(function, accounts.stranger, "AccountIsFrozen", account=wallet.address)


def test_a_contract_that_knows_no_signatures_authorizes_nothing(chain, coin, manager, accounts):
    seller = accounts.seller.address
    signature = sign_transfer(accounts.buyer, coin, seller, COIN, NONCE, from_=manager.address)
    function = coin.functions.transferWithAuthorization(
        *(manager.address, seller, COIN, 0, FOREVER, NONCE), signature.packed
    )
    chain.reverts(function, accounts.stranger, "InvalidSignature", signer=manager.address)
