"""
From the settings to what lets us into a cluster: certificates are loaded, secrets read from files.

Promises: what is wrong with a file is told with the setting that names it; no secret is in a message.
`opening.py` calls `access_of` when a log on Kafka is opened.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from event_center.app.kafka_security import SaslSettings, TlsSettings
from event_center.app.kafka_settings import KafkaSettings
from event_center.errors import ConfigurationError
from event_center.log.kafka import Access
from event_center.log.kafka.tokens import Tokens, asked_command, asked_function
from event_center.plugins.discovery import function_named

TLS, SASL = "log.kafka.tls", "log.kafka.sasl"


def access_of(settings: KafkaSettings, root: Path, clock: Callable[[], int]) -> Access:
    """
    What the brokers ask of us.

    Args:
        settings: the table `[log.kafka]`.
        root: what relative paths are meant from.
        clock: says the time in ms.

    Raises:
        ConfigurationError: a file can not be used.
        PluginError: the function that gives tokens can not be had.
    """
    sasl = settings.sasl
    return Access(
        tls=_context(settings.tls, root) if settings.tls.enabled else None,
        certified=bool(settings.tls.certificate_file),
        mechanism="" if sasl.mechanism == "none" else sasl.mechanism,
        username=sasl.username,
        password=sasl.password.get_secret_value()
        or _secret(f"{SASL}.password_file", sasl.password_file, root),
        token=_tokens(sasl, root, clock),
    )


def _context(tls: TlsSettings, root: Path) -> ssl.SSLContext:
    key = f"{TLS}.ca_file"
    try:
        context = ssl.create_default_context(cafile=_path(key, tls.ca_file, root))
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"{key}: {tls.ca_file} holds no certificate in PEM; name the authority's certificate"
        ) from error
    context.check_hostname = tls.check_hostname
    if tls.certificate_file:
        _show(context, tls, root)
    return context


def _show(context: ssl.SSLContext, tls: TlsSettings, root: Path) -> None:
    key = f"{TLS}.certificate_file"
    certificate = _path(key, tls.certificate_file, root)
    private = _path(f"{TLS}.key_file", tls.key_file, root)
    password = tls.key_password.get_secret_value() or _secret(
        f"{TLS}.key_password_file", tls.key_password_file, root
    )
    try:
        # An empty password, because without one a locked key would ask the terminal for it.
        context.load_cert_chain(str(certificate), private, password=password)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or "no password"
        raise ConfigurationError(
            f"{key}: {tls.certificate_file} and its key can not be used ({reason}): both are PEM, the"
            " key belongs to the certificate, and a locked key needs the right key_password"
        ) from error


def _tokens(sasl: SaslSettings, root: Path, clock: Callable[[], int]) -> Tokens | None:
    if sasl.token_command:
        name = f"{SASL}.token_command"
        ask = asked_command(sasl.token_command, name, root)
    elif sasl.token_function:
        name = f"{SASL}.token_function"
        ask = asked_function(function_named(sasl.token_function, root, name), name)
    else:
        return None
    return Tokens(ask, name=name, limit_s=sasl.token_timeout, clock=clock)


def _path(key: str, name: str, root: Path) -> Path | None:
    """A file that must be there, if one is named."""
    if not name:
        return None
    path = root / name
    if not path.is_file():
        raise ConfigurationError(f"{key}: there is no file {path}; correct the path")
    return path


def _secret(key: str, name: str, root: Path) -> str:
    """The one line of a file; nothing if none is named."""
    path = _path(key, name, root)
    if path is None:
        return ""
    try:
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        kind = type(error).__name__
        raise ConfigurationError(
            f"{key}: {path} can not be read ({kind}); see its rights"
        ) from error
    if not found:
        raise ConfigurationError(f"{key}: {path} is empty; write the secret into it")
    return found
