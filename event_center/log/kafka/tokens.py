"""
Tokens for OAUTHBEARER, from a command or a function, each used until it is nearly over.

Promises: a source is asked once for all connections that are made at a time, never for longer than its
limit, and again before its token expires; no token is in an error. Brokers that end a connection with
its token find a new one at the next connection. The app room makes these, `access.py` asks them.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from event_center.errors import ConfigurationError

LEFT = 0.2
"""The part of its life in which a token is not used any more: clocks differ, and connecting takes time."""


class Tokens:
    """One source of tokens; called, it says the token of now."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[Any]],
        *,
        name: str,
        limit_s: float,
        clock: Callable[[], int],
    ) -> None:
        """
        Wrap a source.

        Args:
            ask: returns a token.
            name: which setting it comes from, for messages.
            limit_s: how long it may take.
            clock: says the time in ms.
        """
        self._ask = ask
        self._name = name
        self._limit_s = limit_s
        self._clock = clock
        self._asking = asyncio.Lock()
        self._token = ""
        self._until_ms = 0.0

    async def __call__(self) -> str:
        """
        The token of now.

        Raises:
            ConfigurationError: the source failed, took too long, or gave no token.
        """
        async with self._asking:
            if self._clock() >= self._until_ms:
                self._token = await self._fresh()
                now = self._clock()
                expires = _expiry_ms(self._token)
                self._until_ms = now if expires is None else expires - LEFT * (expires - now)
            return self._token

    async def _fresh(self) -> str:
        try:
            async with asyncio.timeout(self._limit_s):
                found = await self._ask()
        except TimeoutError as error:
            raise ConfigurationError(
                f"{self._name} gave no token within {self._limit_s:g} s; make it faster, or "
                "token_timeout longer"
            ) from error
        if not isinstance(found, str) or not found.strip() or not found.isprintable():
            raise ConfigurationError(f"{self._name} gave no token: it gives one line of text")
        return found


def asked_command(
    command: Sequence[str], name: str, folder: Path = Path()
) -> Callable[[], Awaitable[str]]:
    """Ask a command, run in this folder, which prints a token and nothing else."""

    async def ask() -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise ConfigurationError(
                f"{name} can not be run ({error}); correct the command"
            ) from error
        try:
            printed, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise ConfigurationError(
                f"{name} ended with code {process.returncode}; run {command[0]!r} by hand to see why"
            )
        return printed.decode(errors="replace").strip()

    return ask


def asked_function(function: Callable[[], Any], name: str) -> Callable[[], Awaitable[str]]:
    """Ask a function, async or plain; a plain one runs in a thread."""

    async def ask() -> Any:
        try:
            if inspect.iscoroutinefunction(function):
                return await function()
            return await asyncio.to_thread(function)
        except (OSError, ValueError, LookupError, RuntimeError) as error:
            raise ConfigurationError(
                f"{name} raised {type(error).__name__}; call it by hand to see why"
            ) from error

    return ask


def _expiry_ms(token: str) -> float | None:
    """When a JSON Web Token ends; None for any other, which is asked for anew each time."""
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        return None
    claims = parts[1] + "=" * (-len(parts[1]) % 4)
    try:
        ends = orjson.loads(base64.urlsafe_b64decode(claims))["exp"]
        return float(ends) * 1000
    except (ValueError, LookupError, TypeError):
        return None
