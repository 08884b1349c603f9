"""Being let in by a secured broker, and why not: every reason has a sentence of its own."""

from __future__ import annotations

import base64
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from event_center.app.opening import open_log
from event_center.app.settings import load_settings
from event_center.app.wiring import wall_clock_ms
from event_center.errors import ConfigurationError, EventCenterError, LogRefused, LogUnavailable
from event_center.log.kafka.access import DISCREET
from scripts.broker import Cluster, acls
from scripts.broker.security import CLIENT, KEY_PASSWORD, PASSWORD, PLAIN, PLAIN_PASSWORD
from tests.kafka.broker import secured

SECRETS = (PASSWORD, PLAIN_PASSWORD, KEY_PASSWORD)


@pytest.fixture(scope="module")
def broker() -> Cluster:
    """The secured broker, on which everybody who is let in may do everything."""
    return secured()


@pytest.fixture(autouse=True)
async def everything(broker: Cluster) -> None:
    """What one test takes away is given back to the next."""
    for user in (CLIENT, PLAIN):
        await acls.give(broker.plain, user, acls.everything())


class Written:
    """Settings for the secured broker; a test makes them wrong."""

    def __init__(self, folder: Path, broker: Cluster) -> None:
        assert broker.security is not None
        self.file = folder / "event-center.toml"
        self.broker, self.security = broker, broker.security
        self.tls: dict[str, Any] = {"enabled": True, "ca_file": str(self.security.authority)}
        self.sasl: dict[str, Any] = {
            "mechanism": "SCRAM-SHA-512",
            "username": CLIENT,
            "password": PASSWORD,
        }
        self.bootstrap = broker.secure

    def by_certificate(self, name: str, **more: str) -> None:
        """Show a certificate, and no password."""
        self.bootstrap, self.sasl = self.broker.mutual, {}
        self.tls |= {"certificate_file": str(self.security.certificate(name)), **more}
        self.tls["key_file"] = str(self.security.key(name))

    async def opened(self) -> None:
        """Open the log and close it."""
        tables = {"tls": self.tls, "sasl": self.sasl}
        lines = [
            f'[log]\nkind = "kafka"\n[log.kafka]\nbootstrap = "{self.bootstrap}"',
            'replication_factor = 1\nrequest_timeout = "10s"\nstart_wait = "0s"',
        ]
        for name, table in tables.items():
            lines += [f"[log.kafka.{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
        self.file.write_text("\n".join(lines), encoding="utf-8")
        settings = load_settings(self.file)
        assert not any(secret in repr(settings) for secret in SECRETS)
        log = await open_log(settings)
        await log.close()

    async def refused(self) -> str:
        """Why the log can not be opened."""
        with pytest.raises(EventCenterError) as caught:
            await self.opened()
        assert not any(secret in str(caught.getrepr(showlocals=False)) for secret in SECRETS)
        assert isinstance(caught.value, LogRefused | ConfigurationError), caught.value
        return str(caught.value)


@pytest.fixture
def written(tmp_path: Path, broker: Cluster) -> Written:
    """Settings that are right, until the test changes them."""
    return Written(tmp_path, broker)


class TestLetIn:
    @pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
    async def test_by_scram(self, written: Written, mechanism: str) -> None:
        """A SCRAM user is let in; every client of the log shows the same password."""
        written.sasl["mechanism"] = mechanism
        await written.opened()

    async def test_by_plain(self, written: Written, tmp_path: Path) -> None:
        """A PLAIN user is let in, with the password from a file."""
        (tmp_path / "secret").write_text(f"{PLAIN_PASSWORD}\n")
        written.sasl = {"mechanism": "PLAIN", "username": PLAIN, "password_file": "secret"}
        await written.opened()

    async def test_by_a_variable(self, written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
        """A password may come from the environment."""
        monkeypatch.setenv("EVENT_CENTER__LOG__KAFKA__SASL__PASSWORD", PASSWORD)
        del written.sasl["password"]
        await written.opened()

    @pytest.mark.parametrize("name", ["client", "locked"])
    async def test_by_certificate(self, written: Written, name: str) -> None:
        """A certificate is enough where the broker asks for one; its key may have a password."""
        more = {"key_password": KEY_PASSWORD} if name == "locked" else {}
        written.by_certificate(name, **more)
        await written.opened()

    async def test_by_a_token_of_a_command(self, written: Written, tmp_path: Path) -> None:
        """A command prints the token."""
        program = tmp_path / "token.py"
        program.write_text(f"print({token()!r})")
        written.sasl = {"mechanism": "OAUTHBEARER", "token_command": [sys.executable, str(program)]}
        await written.opened()

    async def test_by_a_token_of_a_function(self, written: Written, tmp_path: Path) -> None:
        """A function returns it."""
        (tmp_path / "tokens.py").write_text(f"async def now():\n    return {token()!r}\n")
        written.sasl = {"mechanism": "OAUTHBEARER", "token_function": "tokens.py:now"}
        await written.opened()

    async def test_without_looking_at_the_name(self, written: Written) -> None:
        """Without the check of the host's name the same broker is taken at another address."""
        written.bootstrap = written.bootstrap.replace("localhost", "127.0.0.1")
        written.tls["check_hostname"] = False
        await written.opened()


def token(user: str = CLIENT, life_s: int = 600) -> str:
    """A token that the broker of the tests believes."""
    now = wall_clock_ms() // 1000
    parts = [{"alg": "none"}, {"sub": user, "iat": now - 1, "exp": now + life_s}]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
    return ".".join([*(one.rstrip("=") for one in coded), ""])


class TestRefused:
    @pytest.mark.parametrize(
        ("table", "change", "said"),
        [
            ("sasl", {"password": "no"}, "does not let 'app' in by SCRAM-SHA-512: .*password"),
            ("sasl", {"mechanism": "PLAIN"}, "does not let 'app' in by PLAIN: .*password"),
            ("tls", {"ca_file": ""}, "signed by nobody whom we trust.*ca_file"),
        ],
    )
    async def test_by_the_broker(
        self, written: Written, table: str, change: dict[str, str], said: str
    ) -> None:
        """A wrong password or user and an unknown authority are told apart."""
        getattr(written, table).update(change)
        assert pattern(said, await written.refused())

    async def test_the_wrong_mechanism(self, written: Written, broker: Cluster) -> None:
        """A mechanism that a broker does not have is told with those that it has."""
        written.sasl = {}
        said = await written.refused()
        assert pattern("asks for a password or token, by OAUTHBEARER, PLAIN, SCRAM-SHA-256", said)

    async def test_another_host(self, written: Written) -> None:
        """A certificate of another host is told, with the setting."""
        written.bootstrap = written.bootstrap.replace("localhost", "127.0.0.1")
        assert pattern("is of another host.*check_hostname", await written.refused())

    async def test_plaintext_at_a_tls_port(self, written: Written) -> None:
        """Who speaks plaintext at a TLS port is told so."""
        written.tls, written.sasl = {}, {}
        assert pattern("is a TLS one.*enabled = true", await written.refused())

    async def test_tls_at_a_plaintext_port(self, written: Written) -> None:
        """Who uses TLS at a plaintext port is told so."""
        written.bootstrap = written.broker.plain
        assert pattern("is a plaintext one.*enabled = false", await written.refused())

    async def test_a_password_where_none_is_asked_for(self, written: Written) -> None:
        """A listener without users is told from one that does not know ours."""
        written.bootstrap, written.tls = written.broker.plain, {}
        written.sasl["without_tls"] = True
        assert pattern('asks for no password.*mechanism = "none"', await written.refused())

    async def test_no_certificate(self, written: Written) -> None:
        """A broker that asks for our certificate, and we have none."""
        written.bootstrap, written.sasl = written.broker.mutual, {}
        assert pattern("asks for a certificate of ours.*certificate_file", await written.refused())

    async def test_a_certificate_that_has_expired(self, written: Written) -> None:
        """Our certificate has expired: it is told, and how to look at it."""
        written.by_certificate("expired")
        assert pattern("certificate.*(expired)", await written.refused())

    async def test_a_key_without_its_password(self, written: Written) -> None:
        """A locked key needs its password; nothing waits for one at the terminal."""
        written.by_certificate("locked")
        assert pattern("certificate_file.*key_password", await written.refused())
        written.tls["key_password"] = "wrong"
        assert pattern("certificate_file.*key_password", await written.refused())

    async def test_a_token_that_is_not_one(self, written: Written, tmp_path: Path) -> None:
        """A token that the broker does not take is told from a command that gives none."""
        program = tmp_path / "token.py"
        program.write_text("print('nonsense')")
        written.sasl = {"mechanism": "OAUTHBEARER", "token_command": [sys.executable, str(program)]}
        assert pattern("does not accept our token", await written.refused())

    async def test_a_command_that_gives_none(self, written: Written) -> None:
        """A command that fails is named, and its end."""
        written.sasl = {"mechanism": "OAUTHBEARER", "token_command": ["false"]}
        with pytest.raises(LogUnavailable, match="token_command ended with code 1"):
            await written.opened()

    async def test_nobody_there(self, written: Written) -> None:
        """An address where nobody listens is told as such, after the wait."""
        written.bootstrap = "localhost:1"
        with pytest.raises(LogUnavailable, match="nobody can be reached at localhost:1"):
            await written.opened()


def pattern(said: str, message: str) -> bool:
    """Whether a message says so; the message is shown if not."""
    assert re.search(said, message), message
    return True


class TestDiscretion:
    async def test_the_lines_of_the_client_library(
        self, written: Written, caplog: pytest.LogCaptureFixture
    ) -> None:
        """At its debug level the client library writes requests out, but never what lets us in."""
        written.sasl = {"mechanism": "PLAIN", "username": PLAIN, "password": PLAIN_PASSWORD}
        with caplog.at_level(logging.DEBUG, "aiokafka"):
            await written.opened()
        assert "Request to" in caplog.text
        assert PLAIN_PASSWORD not in caplog.text

    async def test_without_the_filter(
        self, written: Written, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Without our filter the password is in these lines: the test above sees what it should."""
        written.sasl = {"mechanism": "PLAIN", "username": PLAIN, "password": PLAIN_PASSWORD}
        logger = logging.getLogger("aiokafka.conn")
        logger.removeFilter(DISCREET)
        try:
            with caplog.at_level(logging.DEBUG, "aiokafka"):
                await written.opened()
        finally:
            logger.addFilter(DISCREET)
        assert PLAIN_PASSWORD in caplog.text
