"""
Why a cluster can not be used: the steps of a connection, tried one by one.

aiokafka says the same of every failure ("Unable to bootstrap"). So each address is tried here:

    1. reach the port
    2. shake hands by TLS, if we use it
    3. ask the broker for its versions, which it tells before anybody is let in
    4. be let in by SASL, if we use it; if we do not, see that the broker does not ask for it

Promises: every step is bounded; each reason has a sentence of its own, with what to do next; nothing
secret is in it. `LogRefused` will be the same again until somebody changes something;
anything else may pass by itself. `client.py` asks when a client did not start.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct

from aiokafka.conn import create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from event_center.errors import ConfigurationError, LogRefused, LogUnavailable
from event_center.log.kafka.access import Access

STEP_S = 3.0
"""
How long one step may take: a broker that answers does so within a second, also across an ocean.
"""
VERSIONS, HANDSHAKE, AUTHENTICATE = 18, 17, 36
"""Kafka's numbers of the requests for the versions that a broker speaks, and to be let in."""
NOT_OFFERED = 33
"""Its code for a mechanism that it does not have; where it asks for none, the code is another."""
NOBODY = b"NONE"
ANSWER_BYTES = 65_536
"""Bytes of an answer that is read: what is longer is no answer to such a question."""
CORRELATION = 7
"""
Any number: the broker sends it back with its answer, and each connection asks one question at a
time.
"""
TLS_SETTINGS = "[log.kafka.tls]"
SASL_SETTINGS = "[log.kafka.sasl]"
CERTIFICATE = (
    "show one by certificate_file of [log.kafka.tls], or connect to a listener that asks for none"
)


async def diagnosed(bootstrap: str, access: Access) -> LogUnavailable | None:
    """
    Try every address; None if one of them is as it should be.

    Being refused says more than silence, so it is told first.
    """
    found: list[LogUnavailable] = []
    for address in bootstrap.split(","):
        try:
            await _tried(address, access)
        except LogRefused as refused:
            return refused
        except LogUnavailable as silence:
            found.append(silence)
        else:
            return None
    return found[0]


async def _tried(address: str, access: Access) -> None:
    host, _, port = address.rpartition(":")
    await _reached(host, int(port))
    if access.tls is not None:
        await _shaken(host, int(port), access.tls)
    await _answered(host, int(port), access)
    if access.mechanism:
        await _let_in(host, int(port), access)
    else:
        await _open_to_all(host, int(port), access)


async def _reached(host: str, port: int) -> None:
    """Step 1."""
    try:
        async with asyncio.timeout(STEP_S):
            _, writer = await asyncio.open_connection(host, port)
    except socket.gaierror as error:
        raise LogUnavailable(
            f"there is no host {host!r} ({error.strerror}); correct bootstrap of [log.kafka], or the"
            " name service"
        ) from error
    except (OSError, TimeoutError) as error:
        why = "it does not answer" if isinstance(error, TimeoutError) else error.strerror
        raise LogUnavailable(
            f"nobody can be reached at {host}:{port} ({why}); is a broker running there, and is "
            "bootstrap of [log.kafka] its address?"
        ) from error
    writer.close()


async def _shaken(host: str, port: int, tls: ssl.SSLContext) -> None:
    """Step 2."""
    try:
        async with asyncio.timeout(STEP_S):
            _, writer = await asyncio.open_connection(host, port, ssl=tls)
    except ssl.SSLCertVerificationError as error:
        raise LogRefused(_distrusted(host, port, error)) from error
    except (OSError, TimeoutError) as error:
        if await _speaks(host, port, None):
            raise LogRefused(
                f"the port {host}:{port} is a plaintext one, and we use TLS there; write the port of"
                f" its TLS listener, or enabled = false in {TLS_SETTINGS}"
            ) from error
        raise _unclear(f"the TLS handshake with {host}:{port}", error) from error
    writer.close()


def _distrusted(host: str, port: int, error: ssl.SSLCertVerificationError) -> str:
    said = error.verify_message
    if "mismatch" in said:
        return (
            f"the certificate of {host}:{port} is of another host ({said}); write the name in the"
            f" certificate as bootstrap, or check_hostname = false in {TLS_SETTINGS}"
        )
    if "expired" in said or "not yet valid" in said:
        return (
            f"the certificate of {host}:{port} is not valid now ({said}); renew it, or correct this"
            " machine's clock"
        )
    return (
        f"the certificate of {host}:{port} is signed by nobody whom we trust ({said}); name the file"
        f" of its authority as ca_file of {TLS_SETTINGS}"
    )


async def _answered(host: str, port: int, access: Access) -> None:
    """Step 3."""
    try:
        await _versions(host, port, access.tls)
    except ssl.SSLError as error:
        raise LogRefused(_turned_away(host, port, access, str(error.reason))) from error
    except (OSError, TimeoutError, EOFError) as error:
        if access.tls is None and await _tls_answers(host, port):
            raise LogRefused(
                f"the port {host}:{port} is a TLS one, and we speak plaintext; write enabled = true"
                f" in {TLS_SETTINGS}, or the port of a plaintext listener"
            ) from error
        raise _unclear(f"{host}:{port} is reached, but the first request", error) from error


def _turned_away(host: str, port: int, access: Access, said: str) -> str:
    """What a broker's alert says, which comes after the handshake."""
    plain = said.lower().replace("_", " ")
    if not access.certified:
        return f"{host}:{port} asks for a certificate of ours ({plain}); {CERTIFICATE}"
    if "expired" in plain:
        return f"our certificate has expired, says {host}:{port} ({plain}); renew it"
    return (
        f"{host}:{port} does not accept our certificate ({plain}): it has expired, or its authority"
        " is not one that the broker trusts; look at it with `openssl x509 -noout -issuer -enddate"
        " -in FILE`"
    )


async def _let_in(host: str, port: int, access: Access) -> None:
    """Step 4."""
    if access.token is not None:
        try:
            await access.token()
        except ConfigurationError as error:
            raise LogUnavailable(str(error)) from error
    try:
        async with asyncio.timeout(STEP_S * 2):
            connection = await create_conn(
                host, port, request_timeout_ms=round(STEP_S * 1000), **access.arguments()
            )
    except UnsupportedSaslMechanismError as error:
        offered = re.findall(r"'([\w-]+)'", str(error))
        told = f"; it offers {', '.join(sorted(offered))}" if offered else ""
        raise LogRefused(
            f"{host}:{port} does not let anybody in by {access.mechanism}{told}; write another "
            f"mechanism into {SASL_SETTINGS}"
        ) from error
    except SaslAuthenticationFailed as error:
        raise LogRefused(_unknown_user(host, port, access)) from error
    except IllegalSaslStateError as error:
        raise LogRefused(
            f"{host}:{port} asks for no password or token; write the port of a SASL listener, or "
            f'mechanism = "none" in {SASL_SETTINGS}'
        ) from error
    except (KafkaError, OSError, TimeoutError, EOFError, ValueError) as error:
        raise _unclear(f"{host}:{port} is reached, but being let in by SASL", error) from error
    connection.close()
    if access.token is not None:
        await _token_taken(host, port, access, await access.token())


async def _token_taken(host: str, port: int, access: Access, token: str) -> None:
    """Step 4 for tokens: a broker says what it thinks of one in words that aiokafka does not read."""
    shown = f"n,,\x01auth=Bearer {token}\x01\x01".encode()
    name = struct.pack(">h", len(access.mechanism)) + access.mechanism.encode()
    requests = [
        _request(HANDSHAKE, 1, name),
        _request(AUTHENTICATE, 0, struct.pack(">i", len(shown)) + shown),
    ]
    try:
        _, answer = await _asked(host, port, access.tls, *requests)
    except (OSError, TimeoutError, EOFError) as error:
        raise _unclear(f"{host}:{port} is reached, but being let in by SASL", error) from error
    (code,) = struct.unpack_from(">h", answer, 4)
    if code or not answer.endswith(b"\x00\x00\x00\x00"):
        raise LogRefused(_unknown_user(host, port, access))


async def _open_to_all(host: str, port: int, access: Access) -> None:
    """Step 4, where we have neither password nor token."""
    nobody = struct.pack(">h", len(NOBODY)) + NOBODY
    try:
        (answer,) = await _asked(host, port, access.tls, _request(HANDSHAKE, 1, nobody))
    except (OSError, TimeoutError, EOFError):
        return  # It does not know the question: it asks for nothing.
    code, count = struct.unpack_from(">hi", answer, 4)
    if code == NOT_OFFERED:
        offered = [name.decode(errors="replace") for name in _texts(answer[10:], count)]
        raise LogRefused(
            f"{host}:{port} asks for a password or token, by {', '.join(sorted(offered))}; write one "
            f"of these as mechanism of {SASL_SETTINGS}"
        )


def _texts(answer: bytes, count: int) -> list[bytes]:
    """Texts as Kafka writes them, each after its length."""
    found = []
    for _ in range(count):
        (length,) = struct.unpack_from(">h", answer)
        found.append(answer[2 : 2 + length])
        answer = answer[2 + length :]
    return found


def _unknown_user(host: str, port: int, access: Access) -> str:
    if access.token is not None:
        return (
            f"{host}:{port} does not accept our token; look whether it is meant for this cluster and"
            f" has not expired: token_command or token_function of {SASL_SETTINGS}"
        )
    return (
        f"{host}:{port} does not let {access.username!r} in by {access.mechanism}: there is no such"
        f" user, or the password is wrong; correct username and password of {SASL_SETTINGS}"
    )


def _unclear(what: str, error: BaseException) -> LogUnavailable:
    said = "it took too long" if isinstance(error, TimeoutError) else f"{type(error).__name__}"
    detail = f": {error}" if str(error) and not isinstance(error, TimeoutError) else ""
    return LogUnavailable(
        f"{what} failed ({said}{detail}); look into the broker's log, and whether the listener is of"
        " the kind that [log.kafka] says"
    )


async def _speaks(host: str, port: int, tls: ssl.SSLContext | None) -> bool:
    try:
        await _versions(host, port, tls)
    except (OSError, TimeoutError, EOFError):
        return False
    return True


async def _tls_answers(host: str, port: int) -> bool:
    """Whether there is TLS at all; who it is does not matter here, since nothing is sent."""
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(STEP_S):
            _, writer = await asyncio.open_connection(host, port, ssl=anybody)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _versions(host: str, port: int, tls: ssl.SSLContext | None) -> None:
    """Ask for the versions; raises if no answer of Kafka comes."""
    _ = await _asked(host, port, tls, _request(VERSIONS, 0))


async def _asked(host: str, port: int, tls: ssl.SSLContext | None, *requests: bytes) -> list[bytes]:
    """What a broker answers to each of these, on one connection."""
    answers = []
    async with asyncio.timeout(STEP_S):
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        try:
            for request in requests:
                writer.write(request)
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                answers.append(await reader.readexactly(min(max(size, 0), ANSWER_BYTES)))
        finally:
            writer.close()
    return answers


def _request(number: int, version: int, body: bytes = b"") -> bytes:
    """A request in its oldest form."""
    client = b"event-center"
    head = struct.pack(">hhih", number, version, CORRELATION, len(client))
    return struct.pack(">i", len(head) + len(client) + len(body)) + head + client + body
