"""How a cluster lets us in, as settings: nonsense is refused, and no secret is shown."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from event_center.app.kafka_access import access_of
from event_center.app.settings import load_settings
from event_center.errors import ConfigurationError
from event_center.log.kafka.access import Access

SECRET = "hunter2-hunter2"
TLS = "[log.kafka.tls]\n"
SASL = "[log.kafka.sasl]\n"
ON = f"{TLS}enabled = true\n"


def problem(text: str, folder: Path) -> str:
    """What loading these settings says; the secret is in no line of it or its traceback."""
    file = folder / "center.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'{TLS}ca_file = "ca.pem"', "1: log.kafka.tls has ca_file, but enabled is false"),
        (f'{ON}key_file = "k"', "1: log.kafka.tls has a key, but no certificate_file"),
        (f'{ON}key_password_file = "k"', "has key_password_file, but no certificate_file"),
        (
            f'{ON}certificate_file = "c"\nkey_password = "{SECRET}"\nkey_password_file = "k"',
            "has key_password and key_password_file; write one",
        ),
        (f'{SASL}password = "{SECRET}"', "1: log.kafka.sasl has password, but no mechanism"),
        (f'{ON}{SASL}mechanism = "PLAIN"\nusername = "u"', "3: log.kafka.sasl needs username and"),
        (f'{ON}{SASL}mechanism = "PLAIN"\npassword = "{SECRET}"', "needs username and one of"),
        (
            f'{ON}{SASL}mechanism = "PLAIN"\nusername = "u"\npassword = "{SECRET}"\n'
            'password_file = "p"',
            "has password and password_file; write one",
        ),
        (
            f'{ON}{SASL}mechanism = "PLAIN"\ntoken_command = ["t"]',
            "has token_command, but PLAIN takes a password",
        ),
        (
            f'{ON}{SASL}mechanism = "OAUTHBEARER"\npassword = "{SECRET}"',
            "has password, but OAUTHBEARER takes a token",
        ),
        (f'{ON}{SASL}mechanism = "OAUTHBEARER"', "needs one of token_command and token_function"),
        (
            f'{ON}{SASL}mechanism = "OAUTHBEARER"\ntoken_command = ["t"]\ntoken_function = "m:f"',
            "needs one of token_command and token_function",
        ),
        (
            f'{SASL}mechanism = "SCRAM-SHA-512"\nusername = "u"\npassword = "{SECRET}"',
            "1: log.kafka.sasl has mechanism SCRAM-SHA-512 without TLS; write enabled = true",
        ),
        (
            f"{ON}{SASL}without_tls = true",
            "3: log.kafka.sasl has without_tls, but [log.kafka.tls] is enabled; drop one",
        ),
        (f'{ON}{SASL}mechanism = "GSSAPI"', "4: log.kafka.sasl.mechanism is GSSAPI, which is not"),
        (f'{ON}{SASL}mechanism = "plain"', "4: log.kafka.sasl.mechanism is 'plain'; write 'none'"),
        (f'{SASL}password = ["{SECRET}"]', "2: log.kafka.sasl.password is of another kind;"),
        (f'log.kafka.sasl = "{SECRET}"', "1: log.kafka.sasl is of another kind; it is a table"),
        (f'{SASL}pasword = "{SECRET}"', "did you mean log.kafka.sasl.password?"),
    ],
)
def test_what_makes_no_sense(text: str, said: str, tmp_path: Path) -> None:
    """A combination that can not work is refused with file and line, and shows no secret."""
    message = problem(text, tmp_path)
    assert message.startswith("center.toml:")
    assert said in message


def loaded(text: str, folder: Path) -> Access:
    """What these settings come to."""
    file = folder / "center.toml"
    file.write_text(text, encoding="utf-8")
    settings = load_settings(file)
    assert SECRET not in f"{settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    return access_of(settings.log.kafka, settings.root, lambda: 0)


def test_a_password_is_shown_nowhere(tmp_path: Path) -> None:
    """Neither the settings nor what is made of them show a password; the clients get it."""
    access = loaded(
        f'{ON}{SASL}mechanism = "PLAIN"\nusername = "u"\npassword = "{SECRET}"', tmp_path
    )
    assert SECRET not in repr(access)
    assert access.arguments()["sasl_plain_password"] == SECRET


def test_a_password_of_a_file(tmp_path: Path) -> None:
    """A password may lie in a file of its own; blanks and line ends around it do not count."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    text = f'{ON}{SASL}mechanism = "PLAIN"\nusername = "u"\npassword_file = "secret"'
    assert loaded(text, tmp_path).password == SECRET


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'{ON}ca_file = "no.pem"', "log.kafka.tls.ca_file: there is no file"),
        (f'{ON}ca_file = "empty"', "log.kafka.tls.ca_file: empty holds no certificate"),
        (f'{ON}certificate_file = "empty"', "log.kafka.tls.certificate_file: empty and its key"),
        (
            f'{ON}{SASL}mechanism = "PLAIN"\nusername = "u"\npassword_file = "empty"',
            "log.kafka.sasl.password_file: .*empty is empty",
        ),
    ],
)
def test_a_file_that_can_not_be_used(text: str, said: str, tmp_path: Path) -> None:
    """It is told with the setting that names it."""
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigurationError, match=said):
        loaded(text, tmp_path)
