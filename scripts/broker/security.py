"""
Certificates and users for a secured cluster: made anew in its folder, worth nothing anywhere else.

`make` has openssl write a certification authority, a certificate for the brokers (of the name
`localhost` only) and certificates for a client: one that is good, one whose key has a password, one
that has expired. Promises: no private key leaves the folder. `plan.py` adds the properties to those
of a node.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.broker.java import tool

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
CLIENT = "app"
"""Who is let in by SCRAM, with this password; the certificate says CN=app."""
PASSWORD = "app-secret"
PLAIN = "plain"
"""Who is let in by PLAIN."""
PLAIN_PASSWORD = "plain-secret"
KEY_PASSWORD = "key-secret"


@dataclass(frozen=True)
class Security:
    """The files of a secured cluster."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The certificate that clients trust."""
        return self.folder / "ca.pem"

    def certificate(self, name: str) -> Path:
        """A certificate by name: client, locked, expired."""
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        """Its private key."""
        return self.folder / f"{name}.key"

    def make(self) -> None:
        """Make everything, if it is not there."""
        if self.authority.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        authority = ["-x509", "-days", "30", "-subj", "/CN=event-center test authority"]
        self._openssl("req", *NEW_KEY, "-nodes", *authority, *self._out("ca"))
        self._sign("server", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
        self._sign("client", f"/CN={CLIENT}")
        self._sign("expired", f"/CN={CLIENT}", days=0)
        locked = ["-in", str(self.key("client")), "-out", str(self.key("locked"))]
        self._openssl("pkey", *locked, "-aes256", "-passout", f"pass:{KEY_PASSWORD}")
        self.certificate("locked").write_text(self.certificate("client").read_text())
        both = self.key("server").read_text() + self.certificate("server").read_text()
        (self.folder / "keystore.pem").write_text(both)

    def _sign(self, name: str, subject: str, *extra: str, days: int = 30) -> None:
        request = self.folder / f"{name}.csr"
        asked = ["-subj", subject, "-keyout", str(self.key(name)), "-out", str(request)]
        self._openssl("req", "-new", *NEW_KEY, "-nodes", *asked, *extra)
        by = ["-CA", str(self.authority), "-CAkey", str(self.key("ca")), "-CAcreateserial"]
        made = ["-in", str(request), "-out", str(self.certificate(name)), "-days", str(days)]
        self._openssl("x509", "-req", "-copy_extensions", "copy", *by, *made)

    def _out(self, name: str) -> list[str]:
        return ["-keyout", str(self.key(name)), "-out", str(self.certificate(name))]

    @staticmethod
    def _openssl(*arguments: str) -> None:
        subprocess.run([tool("openssl"), *arguments], capture_output=True, check=True)

    def properties(
        self, plain: Mapping[str, object], secure: int, mutual: int
    ) -> dict[str, object]:
        """What a node is told beyond its plain properties."""
        modules = "org.apache.kafka.common.security"
        scram = f"{modules}.scram.ScramLoginModule required;"
        users = f'user_{PLAIN}="{PLAIN_PASSWORD}"'
        token = 'unsecuredLoginStringClaim_sub="broker"'
        jaas = "listener.name.secure.{}.sasl.jaas.config"
        listeners = f"SECURE://127.0.0.1:{secure},MUTUAL://127.0.0.1:{mutual}"
        return {
            "listeners": f"{plain['listeners']},{listeners}",
            "advertised.listeners": f"{plain['advertised.listeners']},"
            + listeners.replace("127.0.0.1", "localhost"),
            "listener.security.protocol.map": f"{plain['listener.security.protocol.map']},"
            "SECURE:SASL_SSL,MUTUAL:SSL",
            "sasl.enabled.mechanisms": ",".join(MECHANISMS),
            jaas.format("plain"): f"{modules}.plain.PlainLoginModule required {users};",
            jaas.format("scram-sha-256"): scram,
            jaas.format("scram-sha-512"): scram,
            # It takes tokens that nobody signed: enough to see that ours arrive.
            jaas.format("oauthbearer"): f"{modules}.oauthbearer.OAuthBearerLoginModule required"
            f" {token};",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.folder / "keystore.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.authority,
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.mutual.ssl.principal.mapping.rules": "RULE:^CN=([^,]+)$/$1/",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
        }

    @staticmethod
    def format_options() -> list[str]:
        """The users that are in the cluster from its first moment."""
        return [
            f"--add-scram={name}=[name={CLIENT},password={PASSWORD}]"
            for name in MECHANISMS
            if name.startswith("SCRAM")
        ]
