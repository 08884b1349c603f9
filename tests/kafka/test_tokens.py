"""Tokens are asked for once, again before they expire, and never for longer than allowed."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from event_center.errors import ConfigurationError
from event_center.log.kafka.tokens import Tokens, asked_command, asked_function


def token(expires_s: float, name: str) -> str:
    """A JSON Web Token of this name."""
    claims = base64.urlsafe_b64encode(orjson.dumps({"exp": expires_s})).decode().rstrip("=")
    return f"e30.{claims}.{name}"


class Source:
    """Gives tokens that live for 100 s, and counts them; the test says the time."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.given = 0

    async def ask(self) -> str:
        self.given += 1
        return token(self.now_ms / 1000 + 100, str(self.given))

    def tokens(self, ask: Callable[[], Any] | None = None) -> Tokens:
        return Tokens(ask or self.ask, name="source", limit_s=5, clock=lambda: self.now_ms)


async def test_one_for_all_connections() -> None:
    """Connections that are made at a time share one token."""
    source = Source()
    tokens = source.tokens()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(tokens()) for _ in range(10)]
    assert len({one.result() for one in asked}) == source.given == 1


async def test_a_new_one_before_it_expires() -> None:
    """A token is used while it lives for long enough, and replaced before its end."""
    source = Source()
    tokens = source.tokens()
    first = await tokens()
    source.now_ms = 79_000
    assert await tokens() == first
    source.now_ms = 81_000
    assert await tokens() != first


async def test_one_whose_end_nobody_knows() -> None:
    """A token that does not say when it ends is asked for at each connection."""
    source = Source()

    async def ask() -> str:
        source.given += 1
        return "opaque"

    tokens = source.tokens(ask)
    assert [await tokens(), await tokens()] == ["opaque", "opaque"]
    assert source.given == 2


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["no-such-command-anywhere"], "can not be run"),
        ([sys.executable, "-c", "import sys; print('secret'); sys.exit(3)"], "code 3"),
        ([sys.executable, "-c", ""], "gave no token"),
        ([sys.executable, "-c", "print('a'); print('b')"], "gave no token"),
    ],
)
async def test_a_command_that_fails(command: list[str], said: str) -> None:
    """It is said how it failed, without what it printed."""
    tokens = Source().tokens(asked_command(command, "token_command"))
    with pytest.raises(ConfigurationError, match=said) as caught:
        await tokens()
    assert "secret'" not in str(caught.value)


async def test_a_command_that_takes_too_long() -> None:
    """It is ended with its limit, and nothing of it stays."""
    ask = asked_command([sys.executable, "-c", "import time; time.sleep(60)"], "token_command")
    tokens = Tokens(ask, name="token_command", limit_s=0.2, clock=lambda: 0)
    with pytest.raises(ConfigurationError, match=r"no token within 0\.2 s"):
        await tokens()


async def test_a_plain_function() -> None:
    """A plain function is called in a thread; what it raises is named, and its text is not."""
    assert await Source().tokens(asked_function(lambda: "abc", "token_function"))() == "abc"

    def failing() -> str:
        raise ValueError("the secret is 7")

    with pytest.raises(ConfigurationError, match="token_function raised ValueError") as caught:
        await Source().tokens(asked_function(failing, "token_function"))()
    assert "secret" not in str(caught.value)
