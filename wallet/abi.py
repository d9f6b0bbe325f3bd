"""The few functions, events and errors of the contracts a wallet needs, coded by hand.

A general ABI library takes longer to import than a balance takes to read. Selectors and topics are
written out, and a test compares each with the compiled contracts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from wallet.amounts import format_units

WORD = 32

_TERMS = "(address,address,address,address,uint96,uint16,uint16,uint40,uint40,uint32,bytes32)"
_OFFER = "(address,address,uint72,uint16,uint16,uint16,uint16,uint40,bytes32,bytes32,uint256)"

# ----------------------------------------------------------------------------- functions

FUNCTIONS = {
    "transfer(address,uint256)": "a9059cbb",
    "transferWithMemo(address,uint256,bytes32)": "95777d59",
    "accountOf(address)": "8086b8ba",
    "paused()": "5c975abb",
    "authorizationState(address,bytes32)": "e94a0102",
    "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)": "cf092995",
    f"authorizeWithSignature({_TERMS},uint256,uint256,uint256,bytes)": "e87c7a7a",
    f"release({_TERMS},uint256,uint16)": "0cde7e82",
    f"reclaim({_TERMS})": "00953848",
    "orderOf(bytes32)": "d5a014e5",
    f"dispute({_TERMS},bytes32)": "bf8ccdf6",
    f"submitEvidence({_TERMS},bytes32)": "99131b45",
    f"accept({_OFFER},bytes)": "cc064683",
    "draw(uint256)": "3b304147",
    "setHoldback(uint16)": "15104dd1",
    "repayWithAuthorization(address,bytes32,address,uint256,uint256,uint256,bytes)": "47502112",
    "statementOf(address)": "b125e04c",
    "lineOf(address)": "82a4c7ff",
    "totals()": "c038a38e",
    "lineCap()": "e7bbcd94",
    "offerUsed(bytes32)": "a8d392b0",
    "UNDERWRITER_ROLE()": "f01b571a",
    "authority()": "bf7e214f",
    "hasRole(uint64,address)": "d1f856ee",
    "symbol()": "95d89b41",
    "decimals()": "313ce567",
}
_BY_NAME = {signature.split("(")[0]: bytes.fromhex(s) for signature, s in FUNCTIONS.items()}


def encode_call(function: str, *words: int | str | bytes, tail: bytes | None = None) -> bytes:
    """Encode a call of one of FUNCTIONS, by its name.

    Args:
        words: the static arguments in order, structs laid out flat.
        tail: the value of a last argument of type `bytes`, where the function has one.
    """
    head = [encode_word(word) for word in words]
    if tail is not None:
        head.append(encode_word((len(head) + 1) * WORD))
        head.append(encode_word(len(tail)))
        head.append(tail + b"\0" * (-len(tail) % WORD))
    return _BY_NAME[function] + b"".join(head)


def encode_word(value: int | str | bytes) -> bytes:
    """Encode an unsigned integer, an address (0x text) or 32 bytes as one word."""
    if isinstance(value, bytes):
        if len(value) != WORD:
            raise ValueError(f"a word is {WORD} bytes, not {len(value)}")
        return value
    number = int(value, 16) if isinstance(value, str) else value
    return number.to_bytes(WORD, "big")


def words_of(data: bytes) -> list[int]:
    """Split call results, log data or arguments into words as unsigned integers."""
    return [int.from_bytes(data[i : i + WORD], "big") for i in range(0, len(data), WORD)]


def address_of(word: int) -> str:
    """Return a word as an address in lower case."""
    return f"0x{word:040x}"


def function_called(data: bytes) -> str | None:
    """Return the name of the function that call data calls, None for one not among FUNCTIONS."""
    return next((name for name, selector in _BY_NAME.items() if data[:4] == selector), None)


# -------------------------------------------------------------------------------- events

EVENTS = {
    "Transfer(address,address,uint256)": (
        "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    ),
    "TransferMemo(address,address,uint256,bytes32)": (
        "7475acb6762bdaff204a5b230ca82e0d88a1835c58877c23ebbbf4afa4e7a57a"
    ),
    "AuthorizationUsed(address,bytes32)": (
        "98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"
    ),
    "Seized(address,address,uint256,bytes32)": (
        "b610dacff924ead5b27fc940d53d2416b6f4fc23529c92255f0f74f710364c59"
    ),
    f"PurchaseAuthorized(bytes32,address,address,uint256,{_TERMS})": (
        "afd1c703ae07ba94515370db3912331fe851dab986b89805bf4f9a1b765f141f"
    ),
    "PurchaseReleased(bytes32,uint256,uint256,uint256,uint256)": (
        "042e10973f148ee499a6687e4c87fa620f3d3a646bfb7c6ce1d52b3508de3a25"
    ),
    "PurchaseVoided(bytes32,uint256)": (
        "eb2ab34d90bf92ef4da0c2d7dadca60ad4461f9e8637a22ec62f24766039c111"
    ),
    "PurchaseRefunded(bytes32,uint256,bytes32)": (
        "55f0532ad7e18509a5a22cecd57c80a5f88c0a4533702597f5c7ddf4e5e75b48"
    ),
    "PurchaseReclaimed(bytes32,uint256)": (
        "b51ccb6ccdf2751e35425b8a5d3c431dd56daf002695c969ae5f2e9e9e960ea8"
    ),
    "DisputeOpened(bytes32,bytes32,uint40)": (
        "83f5982ee1bcce148100f6a54475e579fb69406319238a7acd1e2e742d3510dc"
    ),
    "EvidenceSubmitted(bytes32,address,bytes32)": (
        "4543e08408960bdc61f9796c9212f24c6c086541eb4f2c7717bdc01b53e5571d"
    ),
    "DisputeResolved(bytes32,uint256,uint256,bytes32)": (
        "d94e725ea3b458dde883b757e4c0a3ad00c48a680f74d3a0f3bdb39f3aece543"
    ),
    "DisputeDefaulted(bytes32,uint256)": (
        "2c95df2d51493ede600cbc1c200c2740824c082db3914b036bf73cc4255f8eab"
    ),
    "ClaimableWithdrawn(address,uint256)": (
        "1e251bb151b5d50499a018231655568d9665cceacc7fa4d13d0322ec2507f63b"
    ),
    f"OfferAccepted(address,bytes32,{_OFFER})": (
        "f742fc5e24c1c316b420ca61ec7dd5be152ae7c7712fe20bd561f99c46eb02a3"
    ),
    "Drawn(address,uint256,uint256,uint256,uint40)": (
        "733044122891873297a26e9860a4e62cba57de002224e3105f210fdfb96f6fef"
    ),
    "Repaid(address,address,bytes32,uint256,uint256,uint256)": (
        "389e27ea94aedf26289e40e5e4ce90ce09a1cdcf0cf56c10ecefe5b2784fe7a5"
    ),
    "Recovered(address,address,bytes32,uint256,uint256)": (
        "230b25bb206595bcf9ab6d8a3370584fba8e7a138c0ed811b656c645db9a161e"
    ),
    "ReserveFunded(address,uint256)": (
        "b52b99b9e83551fcbd069b559cc3e823e2a1a3bad8ece46561ea77524394c850"
    ),
    "ReserveWithdrawn(address,uint256)": (
        "cf3e2ed8c545de2d902ea60194df2faa514dad26e69937899d836f775b6973a8"
    ),
    "Deposit(address,address,uint256,uint256)": (
        "dcbc1c05240f31ff3ad067ef1ee35ce4997762752e3a095284754544f4c709d7"
    ),
    "Withdraw(address,address,address,uint256,uint256)": (
        "fbde797d201c681b91056529119e0b02407c7bb96a4a2c75c01fc9667232c8db"
    ),
}
TOPICS = {signature.split("(")[0]: "0x" + topic for signature, topic in EVENTS.items()}


# -------------------------------------------------------------------------------- errors


def _coin(word: int) -> str:
    return format_units(word)


def _time(word: int) -> str:
    if word == 0:
        return "never"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(word))
    except (OverflowError, ValueError, OSError):
        return str(word)


_ORDER_STATUS = ("not authorized", "authorized", "delivered", "closed", "in dispute")
_LINE_STATUS = (
    "not open: no offer was accepted",
    "active",
    "in default",
    "closed after a default: it takes a new offer",
    "written off",
)


def _status(word: int) -> str:
    return _ORDER_STATUS[word] if word < len(_ORDER_STATUS) else str(word)


def _line_status(word: int) -> str:
    return _LINE_STATUS[word] if word < len(_LINE_STATUS) else str(word)


def _percent(word: int) -> str:
    return f"{word // 100}.{word % 100:02d} %"


def _days(word: int) -> str:
    return f"{word // 86_400} days"


def _signed(word: int) -> str:
    return str(word - 2**256 if word >= 2**255 else word)


def _bytes32(word: int) -> str:
    return f"0x{word:064x}"


_Show = Callable[[int], str]

# Signature -> selector, what people read, and how each argument is written.
ERRORS: dict[str, tuple[str, str, Sequence[_Show]]] = {
    "NotAMember(address,uint40)": (
        "127eb1da",
        "{0} is not a member (member until: {1})",
        (address_of, _time),
    ),
    "AccountIsFrozen(address)": ("cf8eb597", "{0} is frozen", (address_of,)),
    "CoinPaused()": ("bf95b913", "transfers of the coin are paused", ()),
    "AuthorizationNotYetValid(uint256,uint256)": (
        "498ff9a2",
        "the signature is valid only after {0}; it is {1}",
        (_time, _time),
    ),
    "AuthorizationExpired(uint256,uint256)": (
        "b3fcd33e",
        "the signature expired at {0}; it is {1}",
        (_time, _time),
    ),
    "AuthorizationAlreadyUsed(address,bytes32)": (
        "d309466d",
        "{0} has used or canceled the authorization {1}",
        (address_of, _bytes32),
    ),
    "InvalidSignature(address)": ("d855c4f4", "not the signature of {0}", (address_of,)),
    "CallerNotReceiver(address,address)": (
        "efaf5c14",
        "only {1} may use this authorization, not {0}",
        (address_of, address_of),
    ),
    "AmountIsZero()": ("43ad20fc", "the amount is zero", ()),
    "InvalidAmount(uint256,uint256)": (
        "7c83fcf0",
        "the amount {0} is not between 0 and {1}",
        (_coin, _coin),
    ),
    "InvalidFee(uint16,uint16,uint16)": (
        "7fd9470b",
        "the fee of {0}/10000 is not between {1} and {2}",
        (str, str, str),
    ),
    "WrongStatus(bytes32,uint8)": ("9d819744", "the order {0} is {1}", (_bytes32, _status)),
    "AuthorizationWindowClosed(uint40,uint256)": (
        "72462690",
        "the order could be paid before {0}; it is {1}",
        (_time, _time),
    ),
    "DisputeWindowOpen(uint40,uint256)": (
        "51282931",
        "the dispute window is open until {0}; it is {1}",
        (_time, _time),
    ),
    "ReclaimTooEarly(uint40,uint256)": (
        "ac142c38",
        "the money can be reclaimed from {0} on; it is {1}",
        (_time, _time),
    ),
    "NotAllowed(address)": ("fa5cd00f", "{0} may not do this", (address_of,)),
    "ERC20InsufficientBalance(address,uint256,uint256)": (
        "e450d38c",
        "{0} holds {1}, and {2} is needed",
        (address_of, _coin, _coin),
    ),
    "ERC20InvalidReceiver(address)": ("ec442f05", "{0} cannot receive coin", (address_of,)),
    "ArbitrationOpen(uint40,uint256)": (
        "dc3c15c8",
        "the arbiter may decide until {0}; it is {1}",
        (_time, _time),
    ),
    "ArbitrationOver(uint40,uint256)": (
        "bc347ad4",
        "the arbiter could decide until {0}; it is {1}",
        (_time, _time),
    ),
    "DisputeWindowClosed(uint40,uint256)": (
        "70e4362a",
        "the order could be disputed before {0}; it is {1}",
        (_time, _time),
    ),
    "ChargeNotAllowed(uint32)": (
        "88d82c59",
        "the terms ask for escrow with {0} to dispute: it cannot be charged at once",
        (_days,),
    ),
    "NothingToClaim(address)": ("64ab3466", "nothing waits for {0}", (address_of,)),
    "InvalidCoin(address)": ("deb598a7", "there is no coin at {0}", (address_of,)),
    "InvalidSaleHook(address)": ("e46a0ae8", "{0} is no credit book", (address_of,)),
    "InvalidContract(address)": ("ec016484", "{0} is not the contract it should be", (address_of,)),
    "InsufficientGas(uint256,uint256)": (
        "23e228cb",
        "{0} gas is left, and {1} is needed",
        (str, str),
    ),
    "ReentrancyGuardReentrantCall()": ("3ee5aeb5", "the contract was entered twice", ()),
    "IntentExpired(uint256,uint256)": (
        "6f08ee6e",
        "the signature was valid before {0}; it is {1}",
        (_time, _time),
    ),
    "InvalidIntentSignature(address)": (
        "0233fc6e",
        "not the signature of {0} for this",
        (address_of,),
    ),
    "InvalidAccountNonce(address,uint256)": (
        "752d88c0",
        "the signature's nonce was used: the next one of {0} is {1}",
        (address_of, str),
    ),
    "OfferExpired(uint40,uint256)": (
        "c025df52",
        "the offer could be accepted before {0}; it is {1}",
        (_time, _time),
    ),
    "OfferUsed(bytes32)": ("3f6da096", "the offer {0} was accepted or taken back", (_bytes32,)),
    "NotAnUnderwriter(address)": (
        "98d61d7c",
        "{0} is not an underwriter of this network",
        (address_of,),
    ),
    "InvalidOfferSignature(address)": (
        "ec09a455",
        "the offer is not signed by its underwriter {0}",
        (address_of,),
    ),
    "WrongStatus(address,uint8)": (
        "af59f8c1",
        "the credit line of {0} is {1}",
        (address_of, _line_status),
    ),
    "RateAboveCurrent(uint16,uint16)": (
        "4c6d5b14",
        "the offered rate of {0} is above the {1} of what is owed",
        (_percent, _percent),
    ),
    "InvalidHoldback(uint16,uint16,uint16)": (
        "39f6b64a",
        "the holdback of {0} is not between {1} and {2}",
        (_percent, _percent, _percent),
    ),
    "InvalidLimit(uint256,uint256)": (
        "437a0afe",
        "the limit of {0} is more than the {1} allowed",
        (_coin, _coin),
    ),
    "InvalidDuration(uint40,uint40)": (
        "4c040cc0",
        "{0} are not a time of at most {1}",
        (_days, _days),
    ),
    "InvalidCaps()": ("5c9e11e8", "the caps are out of range", ()),
    "DrawsArePaused()": ("0c0d8cc0", "draws are paused by the platform", ()),
    "DrawsAreNotPaused()": ("6743d6ce", "draws are not paused", ()),
    "DrawTermOver(uint40,uint256)": (
        "b168a9db",
        "the credit line could be drawn on before {0}; it is {1}",
        (_time, _time),
    ),
    "PaymentPastDue(address,uint40)": (
        "ddf5ddd9",
        "a payment of {0} is past due since {1}",
        (address_of, _time),
    ),
    "ReserveTooLow(uint256,uint256)": (
        "78fe52a6",
        "the platform's first-loss reserve is {0}, and {1} is needed",
        (_coin, _coin),
    ),
    "NothingOwed(address)": ("751b0fda", "{0} owes nothing", (address_of,)),
    "NotPastDueLongEnough(uint40,uint40,uint256)": (
        "f486dc9b",
        "past due since {0}: {1} are needed, and it is {2}",
        (_time, _days, _time),
    ),
    "NotASalesSource(address)": (
        "b799e490",
        "the credit book does not take {0}'s word on sales",
        (address_of,),
    ),
    "NotInGoodStanding(address)": (
        "48724791",
        "{0} is no member in good standing",
        (address_of,),
    ),
    "ERC4626ExceededMaxDeposit(address,uint256,uint256)": (
        "79012fb2",
        "{0} may deposit at most {2} now, not {1}",
        (address_of, _coin, _coin),
    ),
    "ERC4626ExceededMaxMint(address,uint256,uint256)": (
        "284ff667",
        "{0} may take at most {2} shares now, not {1}",
        (address_of, str, str),
    ),
    "ERC4626ExceededMaxRedeem(address,uint256,uint256)": (
        "b94abeec",
        "{0} can redeem at most {2} shares now, not {1}",
        (address_of, str, str),
    ),
    "ERC4626ExceededMaxWithdraw(address,uint256,uint256)": (
        "fe9cceec",
        "{0} can withdraw at most {2} now, not {1}",
        (address_of, _coin, _coin),
    ),
    "AccountNotFrozen(address)": ("fc782479", "{0} is not frozen", (address_of,)),
    "CoinNotPaused()": ("6b66aa80", "transfers of the coin are not paused", ()),
    "SystemAccount(address)": ("bf0b7fd6", "{0} is a contract of the platform", (address_of,)),
    "NotASystemAccount(address)": (
        "70602b17",
        "{0} is not a contract of the platform",
        (address_of,),
    ),
    "InvalidKinds(uint8)": ("bbf8945e", "{0} are no kinds of a member", (str,)),
    "InvalidMemberUntil(uint40,uint256)": (
        "01661af7",
        "a membership until {0} would be over: it is {1}",
        (_time, _time),
    ),
    "ReferenceUsed(bytes32)": ("6851b8c3", "the reference {0} was used before", (_bytes32,)),
    "MintLimitExceeded(address,uint256,uint256)": (
        "11322a9c",
        "{0} may mint {2} now, not {1}",
        (address_of, _coin, _coin),
    ),
    "ERC2612ExpiredSignature(uint256)": ("62791302", "the permit expired at {0}", (_time,)),
    "ERC2612InvalidSigner(address,address)": (
        "4b800e46",
        "the permit is signed by {0}, not by {1}",
        (address_of, address_of),
    ),
    "ECDSAInvalidSignature()": ("f645eedf", "the signature is nobody's", ()),
    "ECDSAInvalidSignatureLength(uint256)": (
        "fce698f7",
        "the signature has {0} bytes, not 65",
        (str,),
    ),
    "ECDSAInvalidSignatureS(bytes32)": (
        "d78bce0c",
        "the signature's second half {0} is too large",
        (_bytes32,),
    ),
    "ERC20InsufficientAllowance(address,uint256,uint256)": (
        "fb8f41b2",
        "{0} may spend {1}, and {2} is needed",
        (address_of, _coin, _coin),
    ),
    "ERC20InvalidSender(address)": ("96c6fd1e", "{0} cannot send coin", (address_of,)),
    "ERC20InvalidApprover(address)": ("e602df05", "{0} cannot allow spending", (address_of,)),
    "ERC20InvalidSpender(address)": ("94280d62", "{0} cannot be allowed to spend", (address_of,)),
    "SafeERC20FailedOperation(address)": (
        "5274afe7",
        "the coin {0} did not do as it was told",
        (address_of,),
    ),
    "SafeCastOverflowedIntDowncast(uint8,int256)": (
        "327269a7",
        "the number {1} is too large for {0} bits",
        (str, _signed),
    ),
    "SafeCastOverflowedIntToUint(int256)": (
        "a8ce4432",
        "the number {0} is below zero",
        (_signed,),
    ),
    "SafeCastOverflowedUintDowncast(uint8,uint256)": (
        "6dfcc650",
        "the number {1} is too large for {0} bits",
        (str, str),
    ),
    "AccessManagedUnauthorized(address)": (
        "068ca9d8",
        "{0} does not have the role that may do this",
        (address_of,),
    ),
    "AccessManagedRequiredDelay(address,uint32)": (
        "af77169d",
        "{0} has to schedule this and wait {1} seconds",
        (address_of, str),
    ),
    "AccessManagedInvalidAuthority(address)": (
        "c2f31e5e",
        "{0} is no authority",
        (address_of,),
    ),
    "InvalidShortString()": ("b3512b0c", "a name of the contract is damaged", ()),
}
# Errors that carry one text: Solidity's own and the contracts'.
TEXT_ERRORS = {
    "Error(string)": ("08c379a0", "{0}"),
    "InvalidTerms(string)": ("f191a031", "the terms are invalid: {0}"),
    "InvalidOffer(string)": ("dc489cd3", "the offer is invalid: {0}"),
    "StringTooLong(string)": ("305a27a9", "the text is too long: {0}"),
}


def describe_revert(data: str | None) -> str:
    """Say in words why a contract reverted, from the revert data (0x hex, or None for none)."""
    raw = bytes.fromhex(data[2:]) if data else b""
    if not raw:
        return "no reason given"
    selector, arguments = raw[:4].hex(), raw[4:]
    words = words_of(arguments)
    for known, template, shows in ERRORS.values():
        if known == selector and len(words) >= len(shows):
            return template.format(*(show(word) for show, word in zip(shows, words, strict=False)))
    for known, template in TEXT_ERRORS.values():
        if known == selector and len(words) >= 2:
            text = arguments[2 * WORD : 2 * WORD + words[1]]
            return template.format(text.decode("utf-8", "replace"))
    return f"an error unknown to this wallet: {data}"
