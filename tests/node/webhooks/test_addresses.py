"""Where nothing may be posted to: by URL, by what a name leads to, now and later."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network

import pytest
from pydantic import ValidationError

from node.settings import Settings
from node.webhooks.addresses import RefusedUrl, check, lookup, parse, refusal
from node.webhooks.sender import Sender
from tests.node.webhooks.support import Office, Receiver

PUBLIC = "93.184.215.14"


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.8.8.8",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.1.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001:0:a00:1::1",
        "2001:db8::1",
        "2002:a00:1::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "2606:2800:21f::1%eth0",
        "3fff::1",
        "fec0::1",
        "ff02::1",
        "not an address",
        "127.1",
        "2130706433",
    ],
)
def test_special_addresses_are_refused(address: str) -> None:
    assert refusal(address, (), encrypted=True) is not None


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:21f:cb07::1", f"::ffff:{PUBLIC}"])
def test_public_addresses_are_for_https_alone(address: str) -> None:
    assert refusal(address, (), encrypted=True) is None
    assert "https" in (refusal(address, (), encrypted=False) or "")


def test_networks_that_are_allowed_by_name_may_be_reached_and_by_plain_http_too() -> None:
    allowed = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    for address in ("10.1.2.3", "fd00::5", "::ffff:10.1.2.3"):
        assert refusal(address, allowed, encrypted=False) is None
    assert refusal("10.2.0.1", allowed, encrypted=True) is not None


def test_the_setting_takes_networks_and_nothing_else() -> None:
    assert Settings(webhook_networks="10.1.0.0/16, ::1/128").allowed_networks == (
        ip_network("10.1.0.0/16"),
        ip_network("::1/128"),
    )
    for wrong in ("10.1.0.1/16", "localhost", "10.0.0.0/33"):
        with pytest.raises(ValidationError):
            Settings(webhook_networks=wrong)


@pytest.mark.parametrize(
    "url",
    [
        "shop.example",
        "ftp://shop.example/",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://user:secret@shop.example/",
        "https://user@shop.example/",
        "https://shop.example/#part",
        "https://shop.example:0/",
        "https://shop.example:99999/",
        "https://shop.example:x/",
        "https://shop.example/a b",
        "https://shop.example/\r\nHost: other",
        "https://[::1",
        "https://[nonsense]/",
        "gopher://127.0.0.1:6379/_",
        "",
    ],
)
def test_what_is_no_url_to_post_to_is_refused(url: str) -> None:
    with pytest.raises(RefusedUrl):
        parse(url)


async def test_each_address_a_name_leads_to_is_checked() -> None:
    names = {
        "good.example": [PUBLIC],
        "mixed.example": [PUBLIC, "10.0.0.1"],
        "nothing.example": [],
        "xn--bcher-kva.example": [PUBLIC],
    }

    async def look_up(host: str, _port: int) -> list[str]:
        if host not in names:
            raise OSError("Name or service not known")
        return names[host]

    await check("https://good.example/hook?x=1", (), look_up)
    await check("https://bücher.example/", (), look_up)
    for url in (
        "http://good.example/",
        "https://mixed.example/",
        "https://nothing.example/",
        "https://unknown.example/",
        "https://127.0.0.1/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fe80::1]/",
    ):
        with pytest.raises(RefusedUrl):
            await check(url, (), look_up)


async def test_names_that_are_numbers_in_disguise_lead_to_no_connection(
    receiver: Receiver,
) -> None:
    """The resolver of the system reads these as 127.0.0.1."""
    sender = Sender((), 5.0, lookup)
    for host in ("127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost"):
        for scheme in ("http", "https"):
            with pytest.raises(RefusedUrl):
                await check(f"{scheme}://{host}:{receiver.port}/hook", (), lookup)
            answer = await sender.post(f"{scheme}://{host}:{receiver.port}/hook", {}, b"{}")
            assert answer.status is None
    assert receiver.received == []
    assert receiver.elsewhere == 0
    await sender.close()


async def test_a_name_that_leads_elsewhere_after_the_check_is_not_followed_there(
    office: Office, receiver: Receiver
) -> None:
    """DNS rebinding: public when the endpoint is made, the node's own network when it is used."""
    leads_to = [PUBLIC]
    asked = 0

    async def look_up(_host: str, _port: int) -> list[str]:
        nonlocal asked
        asked += 1
        return leads_to

    office.desk.parts["look_up"] = look_up
    office.desk.settings.webhook_networks = ""
    office.shop.app = office.desk.new_app()
    office.shop = type(office.shop)(office.shop.app, office.desk.shop_key.secret)
    url = f"https://shop.example:{receiver.port}/hook"
    endpoint = await office.shop.ok("/v1/webhook_endpoints", {"url": url})
    assert asked == 1
    connections = 0

    async def count(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    await receiver.kill()
    server = await asyncio.start_server(count, "127.0.0.1", receiver.port)
    deliverer = office.deliverer(networks=(), look_up=look_up)
    for address in ("127.0.0.1", "::ffff:127.0.0.1"):
        leads_to[:] = [address]
        office.tell("top_1")
        await office.settle(deliverer)
        office.clock.now += 10_000
    await office.settle(deliverer)
    first = (await office.deliveries(endpoint))[0]
    assert first["attempts"] >= 2
    assert "is not a public address" in first["error"]
    assert connections == 0
    assert asked > 2  # at each connection anew
    # The same server is reached where the network is allowed: it is the check that stops it.
    allowed = Sender((ip_network("127.0.0.0/8"),), 5.0, look_up)
    await allowed.post(url, {}, b"{}")
    assert connections == 1
    await allowed.close()
    server.close()
    await server.wait_closed()
    await receiver.start()
