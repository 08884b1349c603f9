"""
How the clients of a log on Kafka are let in: TLS, and a password or a token.

Promises: what is secret is in no `repr`, and never in a line of the client library's log, which at its
debug level writes out every request. `client.py` hands `arguments` to every client that it makes, and
`diagnosis.py` to the connection that it tries; the app room makes an Access from the settings.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from event_center.errors import ConfigurationError

FreshToken = Callable[[], Awaitable[str]]
"""Says the token that is valid now, or raises ConfigurationError."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """What a broker asks of us; by default nothing."""

    tls: ssl.SSLContext | None = None
    mechanism: str = ""
    """The name of a SASL mechanism; empty for none."""
    username: str = ""
    password: str = field(default="", repr=False)
    token: FreshToken | None = field(default=None, repr=False)
    certified: bool = False
    """A certificate of ours is shown to brokers that ask."""

    @property
    def protocol(self) -> str:
        """Kafka's word for the kind of listener that is expected."""
        kind = "PLAINTEXT" if self.tls is None else "SSL"
        return f"SASL_{kind}" if self.mechanism else kind

    def arguments(self) -> dict[str, Any]:
        """What every client of aiokafka takes."""
        told: dict[str, Any] = {"security_protocol": self.protocol, "ssl_context": self.tls}
        if self.mechanism:
            told["sasl_mechanism"] = self.mechanism
        if self.token is not None:
            told["sasl_oauth_token_provider"] = _Provider(self.token)
        elif self.mechanism:
            told |= {"sasl_plain_username": self.username, "sasl_plain_password": self.password}
        return told


class _Provider(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """Aiokafka's view of a source of tokens."""

    def __init__(self, token: FreshToken) -> None:
        self._token = token

    async def token(self) -> str:
        """The token for a new connection; a source that fails is a connection that fails."""
        try:
            return await self._token()
        except ConfigurationError as error:
            raise KafkaConnectionError(str(error)) from error


class _Discreet(logging.Filter):
    """Drops the lines in which the client library writes out what it sends to be let in."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line may be written."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        return not any(type(one).__name__.startswith("SaslAuthenticate") for one in arguments)


DISCREET = _Discreet()
logging.getLogger("aiokafka.conn").addFilter(DISCREET)
