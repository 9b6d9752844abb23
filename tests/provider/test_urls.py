"""URLs and hosts: loopback, public, and text that is not a URL."""

import contextlib

import pytest

from transferkit._callbacks.verification.fetching import (
    FetchError,
    check_address,
)
from transferkit.provider.urls import host_of, is_loopback, is_public, read_url

PUBLIC = [
    "signer.example",
    "signer.example.",
    "1.signer.example",
    "k3ys.example2",
    "0x.example",
    "8.8.8.8",
    "203.0.114.9",
    "[2001:4860:4860::8888]",
    "[::ffff:8.8.8.8]",
    "[64:ff9b::8.8.8.8]",
]

NOT_PUBLIC = {
    "loopback": ["127.0.0.1", "[::1]", "localhost", "LOCALHOST", "localhost.", "keys.localhost"],
    "private": ["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "[fd00::1]"],
    "link-local": ["169.254.169.254", "[fe80::1]", "[fe80::1%25eth0]"],
    "site-local": ["[fec0::1]", "[feff::1]"],
    "multicast": ["224.0.0.1", "239.1.2.3", "[ff02::1]", "[ff0e::1]"],
    "reserved": ["240.0.0.1", "255.255.255.255", "[2001:db8::1]", "[4000::1]", "[::7f00:1]"],
    "unspecified": ["0.0.0.0", "[::]"],
    "IPv4-mapped": ["[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:224.0.0.1]"],
    "NAT64": ["[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b::e000:1]", "[64:ff9b:1::8.8.8.8]"],
    "6to4": ["[2002:7f00:1::]", "[2002:a00:1::1]", "[2002:808:808::1]"],
    "Teredo": ["[2001::1]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]"],
    "an old form": ["127.1", "2130706433", "0x7f.0.0.1", "0x7f000001", "keys.0X7f"],
    "other characters": [
        "127\u30020\u30020\u30021",
        "127\uff0e0\uff0e0\uff0e1",
        "127\uff610\uff610\uff611",
        "localhost\u3002",
        "lo\u00adcalhost",
        "\uff11\uff12\uff17.0.0.1",
    ],
    "a private name": ["keys", "keys.local", "keys.internal", "keys.lan", "keys.home.arpa"],
    "no name": ["keys..example", ".", ""],
}


@pytest.mark.parametrize("host", PUBLIC)
def test_a_public_host_may_serve_the_keys(host):
    check_address(f"https://{host}/keys", public=True)


@pytest.mark.parametrize(("kind", "host"), [(kind, host) for kind in NOT_PUBLIC for host in NOT_PUBLIC[kind]])
def test_a_host_that_is_not_public_may_not_serve_the_keys(kind, host):
    with pytest.raises(FetchError, match=r"not on the public internet|not a URL with a host"):
        check_address(f"https://{host}/keys", public=True)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("localhost", True),
        ("127\u30020\u30020\u30021", True),
        ("localhost.", False),
        ("127.1", False),
        ("10.0.0.1", False),
        ("signer.example", False),
    ],
)
def test_plain_http_is_accepted_on_loopback_only(host, loopback):
    assert is_loopback(host_of(read_url(f"http://{host}:80/"))) is loopback
    with contextlib.nullcontext() if loopback else pytest.raises(FetchError, match="is not https"):
        check_address(f"http://{host}/openid")


def test_text_that_is_not_a_url_has_no_host():
    for text in (
        "https://[::bad/",
        "https://signer.example:99999/",
        "https://256.1.1.1/",
        "https://a/\udc80",
    ):
        assert host_of(read_url(text)) == ""
    assert not is_public("")
