"""A service that is not who it says it is, or speaks no TLS: it hears nothing of ours."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from anybatch.errors import TransportError
from anybatch.executors.http import Http
from anybatch.providers.flow import Call

SECRET = b"what nobody else may read"
CALL = Call(method="POST", path="/batches", body=SECRET)
SECONDS = timedelta(seconds=5)

# Made for this test, of 127.0.0.1, and good for nothing else.
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgL49Uk2UC9TYuT/aw
tkVjNn+EPPAu/FqtnReBGBwcgJmhRANCAAT4rqkZehhhHQFOVRjvGHMHdfqn94HD
MT612r+NjBhzKf8O5AuEJkW+fvd6s2L/XOb6VQyu6VWZ4iGU+zV7dXMh
-----END PRIVATE KEY-----
"""
ENDED_IN_2021 = """\
-----BEGIN CERTIFICATE-----
MIIBKjCB0KADAgECAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCTEyNy4wLjAu
MTAeFw0yMDAxMDEwMDAwMDBaFw0yMTAxMDEwMDAwMDBaMBQxEjAQBgNVBAMMCTEy
Ny4wLjAuMTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABPiuqRl6GGEdAU5VGO8Y
cwd1+qf3gcMxPrXav42MGHMp/w7kC4QmRb5+93qzYv9c5vpVDK7pVZniIZT7NXt1
cyGjEzARMA8GA1UdEQQIMAaHBH8AAAEwCgYIKoZIzj0EAwIDSQAwRgIhAO/4TEQX
wcnh6zDeevX7f0AqEhFdH5byOpP+jej7jNyfAiEA0q6B3I4sggDSmQs9Hym3JE5i
ejyj3Ky7J85+j5q07Jc=
-----END CERTIFICATE-----
"""
VOUCHED_FOR_BY_NOBODY = """\
-----BEGIN CERTIFICATE-----
MIIBKzCB0qADAgECAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCTEyNy4wLjAu
MTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFDESMBAGA1UEAwwJ
MTI3LjAuMC4xMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+K6pGXoYYR0BTlUY
7xhzB3X6p/eBwzE+tdq/jYwYcyn/DuQLhCZFvn73erNi/1zm+lUMrulVmeIhlPs1
e3VzIaMTMBEwDwYDVR0RBAgwBocEfwAAATAKBggqhkjOPQQDAgNIADBFAiEA7hXf
c2GamqW/ZSpbaLSSy4kvIidbztDUkpCF9xriT9ICIHKp3EEeujOEWwozEogWv4AI
kw/nJnDrYHprLeHoWI92
-----END CERTIFICATE-----
"""


async def refused(base_url: str) -> TransportError:
    """What a call there raises."""
    async with Http(base_url, headers={}, deadline=SECONDS) as http:
        with pytest.raises(TransportError) as raised:
            await http.send(CALL)
    return raised.value


@asynccontextmanager
async def service(context: ssl.SSLContext | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """The address of one that answers whatever it hears, and what that was."""
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1_000))
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", heard


def vouching(certificate: str, folder: Path) -> ssl.SSLContext:
    file = folder / "service.pem"
    file.write_text(KEY + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def test_a_service_without_tls_got_nothing() -> None:
    async with service(None) as (base_url, heard):
        error = await refused(base_url)

    assert not error.sent
    assert not any(SECRET in each for each in heard)


@pytest.mark.parametrize("certificate", [ENDED_IN_2021, VOUCHED_FOR_BY_NOBODY])
async def test_a_service_that_nobody_vouches_for_got_nothing(
    certificate: str, tmp_path: Path
) -> None:
    async with service(vouching(certificate, tmp_path)) as (base_url, heard):
        error = await refused(base_url)

    assert not error.sent
    assert heard == []
