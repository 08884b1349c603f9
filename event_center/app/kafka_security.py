"""
The settings of how a cluster lets us in: the tables `[log.kafka.tls]` and `[log.kafka.sasl]`.

Promises: a combination that makes no sense is a problem of the settings, told with its line before
anything is tried. A secret given here is shown by no repr. `kafka_settings.py` has the tables;
`kafka_access.py` reads the files that they name.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)

from event_center.app.quantity import Seconds

Mechanism = Literal["none", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
Function = Annotated[str, StringConstraints(pattern=r"^$|^[^:\s]+:[A-Za-z_]\w*$")]


def _offered(name: object) -> object:
    if name == "GSSAPI":
        raise ValueError(
            "is GSSAPI, which is not offered; a SCRAM mechanism needs no server of its own"
        )
    return name


class TlsSettings(BaseModel):
    """Whom we trust, and how we show who we are."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    enabled: bool = Field(
        default=False, description="Speak TLS, as the listener of `bootstrap` must do too."
    )
    ca_file: str = Field(
        default="",
        description="The certificates of the authorities that we trust, as PEM. Default: those that"
        " this machine trusts.",
    )
    certificate_file: str = Field(
        default="",
        description="Our own certificate, as PEM, for brokers that ask for one.",
    )
    key_file: str = Field(
        default="",
        description="Its private key, as PEM. Default: it lies in `certificate_file` too.",
    )
    key_password: SecretStr = Field(
        default=SecretStr(""), description="The password of the private key, if it has one."
    )
    key_password_file: str = Field(
        default="",
        description="A file that holds this password, which is better than writing it here.",
    )
    check_hostname: bool = Field(
        default=True,
        description="The broker's certificate must be of the host that we connect to. Without it,"
        " everybody with a certificate of the authority can pretend to be the broker.",
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        given = [name for name in self.model_fields_set - {"enabled"} if _given(self, name)]
        if given and not self.enabled:
            raise ValueError(f"has {_listed(given)}, but enabled is false; write enabled = true")
        if given and not self.certificate_file and {"key_file", "key_password"} & set(given):
            raise ValueError("has a key, but no certificate_file; name the certificate too")
        if "key_password_file" in given and not self.certificate_file:
            raise ValueError("has key_password_file, but no certificate_file; name both or none")
        if {"key_password", "key_password_file"} <= set(given):
            raise ValueError("has key_password and key_password_file; write one of them")
        return self


class SaslSettings(BaseModel):
    """The password or token that lets us in."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    mechanism: Annotated[Mechanism, BeforeValidator(_offered)] = Field(
        default="none",
        description='How we are let in: "none", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512" or'
        ' "OAUTHBEARER".',
    )
    username: str = Field(default="", description="The user's name, for PLAIN and SCRAM.")
    password: SecretStr = Field(
        default=SecretStr(""),
        description="The user's password. Better in the variable"
        " `EVENT_CENTER__LOG__KAFKA__SASL__PASSWORD` or in `password_file` than in a settings file.",
    )
    password_file: str = Field(
        default="",
        description="A file that holds the password; blanks and line ends around it do not count.",
    )
    token_command: tuple[str, ...] = Field(
        default=(),
        description="For OAUTHBEARER: a command and its arguments, which prints a token. It is run"
        " in the project's root for the first connection, and again before the token expires.",
    )
    token_function: Function = Field(
        default="",
        description="For OAUTHBEARER: a function that returns a token, async or plain, instead of a"
        " command: `module:function` or `path.py:function`.",
    )
    token_timeout: Annotated[Seconds, Field(ge=0.1, le=60)] = Field(
        default=10.0, description="How long either may take: a duration from 100ms to 60s."
    )
    without_tls: bool = Field(
        default=False,
        description="Send the password or token though nothing hides it on its way. Only for networks"
        " in which nobody listens.",
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        given = {name for name in type(self).model_fields if _given(self, name)}
        users = given & {"username", "password", "password_file"}
        tokens = given & {"token_command", "token_function"}
        if self.mechanism == "none":
            if users | tokens:
                raise ValueError(f"has {_listed(users | tokens)}, but no mechanism; write one")
            return self
        if self.mechanism == "OAUTHBEARER":
            if users:
                raise ValueError(f"has {_listed(users)}, but OAUTHBEARER takes a token; drop them")
            if len(tokens) != 1:
                raise ValueError("needs one of token_command and token_function for OAUTHBEARER")
            return self
        if tokens:
            raise ValueError(f"has {_listed(tokens)}, but {self.mechanism} takes a password")
        if "username" not in users or len(users) == 1:
            raise ValueError(
                f"needs username and one of password and password_file for {self.mechanism}"
            )
        if {"password", "password_file"} <= users:
            raise ValueError("has password and password_file; write one of them")
        return self


def _given(model: BaseModel, name: str) -> bool:
    value = getattr(model, name)
    if isinstance(value, SecretStr):
        return bool(value.get_secret_value())
    return bool(value != type(model).model_fields[name].default)


def _listed(names: set[str] | list[str]) -> str:
    return ", ".join(sorted(names))
