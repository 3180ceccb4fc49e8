"""Addresses that somebody else chose: what is called, and what never is."""

import pytest

from anybatch.core.addresses import MAX_URL, BadAddress, is_public, read_host, read_target

NEVER = [
    # no address of the web
    "",
    "hooks.example",
    "//hooks.example/",
    "ftp://hooks.example/",
    "file:///etc/passwd",
    "gopher://hooks.example:70/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "https:hooks.example",
    "https:/hooks.example",
    "https:///hooks.example",
    "https://",
    "https:///",
    "https://?",
    # read in two ways
    "https://user@hooks.example/",
    "https://user:password@hooks.example/",
    "https://hooks.example@127.0.0.1/",
    "https://hooks.example%40127.0.0.1/",
    "https://hooks.example\\@127.0.0.1/",
    "https://127.0.0.1\\.hooks.example/",
    "https://hooks.example/\\127.0.0.1",
    "https://hooks.example#@127.0.0.1/",
    "https://hooks.example/#fragment",
    "https://hooks.example:443:80/",
    "https://hooks.example:/",
    "https://hooks.example:0/",
    "https://hooks.example:65536/",
    "https://hooks.example:-1/",
    "https://hooks.example:8o/",
    "https://hooks.example:\u0661/",
    "https://hooks.example. /",
    "https://hooks example/",
    "https://hooks.example\t/",
    "https://hooks.example\r\nhost: internal/",
    "https://hooks.example\x00.internal/",
    " https://hooks.example/",
    "https://hooks.example/ ",
    "https://\uff48ooks.example/",
    "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/",
    "https://hooks。example/",
    "https://%31%32%37.0.0.1/",
    "https://hooks..example/",
    "https://.hooks.example/",
    "https://hooks.example./",
    "https://-hooks.example/",
    "https://hooks-.example/",
    "https://*.example/",
    "https://" + "a" * 64 + ".example/",
    "https://" + ".".join(["abcdefgh"] * 40) + "/",
    "https://hooks.example/" + "a" * MAX_URL,
    # numbers in other clothes
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0x7f.0.0.0x1/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://127.0.0.01/",
    "https://127.0.0.1./",
    "https://127.0.0.1.2/",
    "https://256.0.0.1/",
    "https://hooks.example.0x1/",
    "https://hooks.example.1/",
    "https://0x/",
    "https://[::1/",
    "https://::1/",
    "https://[::1]x/",
    "https://[127.0.0.1]x/",
    "https://[fe80::1%25eth0]/",
    "https://[::g]/",
    # not by that way
    "http://hooks.example/",
    "HTTP://hooks.example/",
    "https://hooks.example:22/",
    "https://hooks.example:25/",
    "https://hooks.example:445/",
]


@pytest.mark.parametrize("url", NEVER)
def test_what_is_no_address_to_call_is_refused(url: str) -> None:
    with pytest.raises(BadAddress):
        read_target(url)


@pytest.mark.parametrize(
    ("url", "called", "host", "port"),
    [
        ("https://hooks.example", "https://hooks.example/", "hooks.example", 443),
        ("HTTPS://Hooks.Example/Path?q=A", "https://hooks.example/Path?q=A", "hooks.example", 443),
        ("https://hooks.example:443/x", "https://hooks.example/x", "hooks.example", 443),
        ("https://hooks.example:8443", "https://hooks.example:8443/", "hooks.example", 8443),
        ("https://hooks.example?a=b", "https://hooks.example/?a=b", "hooks.example", 443),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/", None, 443),
        ("https://a_b.example/%2e%2e/", "https://a_b.example/%2e%2e/", "a_b.example", 443),
        ("https://93.184.216.34/", "https://93.184.216.34/", "93.184.216.34", 443),
        ("https://[2606:4700:0::1]/", "https://[2606:4700::1]/", "2606:4700::1", 443),
        ("https://h.example/a@b:c", "https://h.example/a@b:c", "h.example", 443),
    ],
)
def test_an_address_is_called_as_it_was_read(
    url: str, called: str, host: str | None, port: int
) -> None:
    target = read_target(url)

    assert target == read_target(target.url)
    assert (target.url, target.port, target.is_allowed) == (called, port, False)
    assert host is None or target.host == host


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.internal:81/",
        "http://HOOKS.internal/",
        "http://127.0.0.1:22/",
        "http://[::1]/",
    ],
)
def test_what_is_allowed_by_name_is_called_by_http_and_at_any_port(url: str) -> None:
    allowed = ("hooks.internal", "127.0.0.1", "::1")

    assert read_target(url, allowed=allowed).is_allowed


@pytest.mark.parametrize(
    "url",
    ["http://a.hooks.internal/", "http://internal/", "http://127.0.0.2/", "http://127.1/"],
)
def test_a_name_allows_nothing_but_itself(url: str) -> None:
    with pytest.raises(BadAddress):
        read_target(url, allowed=("hooks.internal", "127.0.0.1"))


def test_a_host_is_written_in_one_way() -> None:
    assert read_host("Hooks.Internal") == "hooks.internal"
    assert read_host("[0:0:0:0:0:0:0:1]") == "::1"


NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200"),
    *("127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.169.254", "172.16.0.1"),
    *("172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1"),
    *("198.19.255.255", "198.51.100.1", "203.0.113.9", "224.0.0.1", "239.255.255.255"),
    *("240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:10.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1"),
    *("2001:0:7f00:1::", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1"),
    *("3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0"),
    *("fec0::1", "ff02::1", "2606:4700::1%eth0"),
    *("", "hooks.example", "127.1", "1.2.3", "0x7f000001", "127.0.0.01"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_address_of_our_own_network_is_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"),
        *("126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255"),
        *("172.32.0.0", "192.167.255.255", "192.169.0.0", "223.255.255.255", "93.184.216.34"),
        *("2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "64:ff9b::808:808"),
    ],
)
def test_the_addresses_beside_them_are(address: str) -> None:
    assert is_public(address)
