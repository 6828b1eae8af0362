"""Tokens of those who may ask, named in the environment and never written anywhere."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from genrec.common.errors import InputError

__all__ = ["VARIABLE", "Tokens", "check_address"]

VARIABLE = "GENREC_TOKENS"
"""Environment variable that holds the tokens, separated by commas."""


@dataclass(frozen=True)
class Tokens:
    """The tokens that open a server, as their SHA-256; none of them opens nothing."""

    digests: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, *tokens: str) -> Tokens:
        """Take some tokens."""
        return cls(tuple(hashlib.sha256(token.encode()).digest() for token in tokens))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Tokens:
        """Read `VARIABLE`; absent or empty, there are none.

        Raises:
            InputError: it holds no token but commas, or one that does not fit into a header.
        """
        words = environment.get(VARIABLE, "")
        tokens = [token.strip() for token in words.split(",")]
        if words and not all(tokens):
            raise InputError(f"{VARIABLE} holds an empty token: write TOKEN,TOKEN,…")
        if any(not token.isascii() or not token.isprintable() or " " in token for token in tokens):
            raise InputError(f"{VARIABLE} holds a token with a space or a sign that is not ASCII")
        return cls.of(*tokens) if words else cls()

    def __bool__(self) -> bool:
        return bool(self.digests)

    def admit(self, authorization: str | None) -> bool:
        """Whether the header ``Authorization: Bearer TOKEN`` names a token.

        Digests are compared, all of them, so the time it takes tells nothing of any token.
        """
        scheme, _, token = (authorization or "").partition(" ")
        digest = hashlib.sha256(token.strip().encode()).digest()
        found = [hmac.compare_digest(digest, known) for known in self.digests]
        return scheme.lower() == "bearer" and any(found)


def check_address(host: str, tokens: Tokens, *, no_auth: bool) -> None:
    """Refuse to be open to others without tokens.

    Raises:
        InputError: the address is not a loopback one and there are no tokens, unless that is what
            `no_auth` says; or `no_auth` is said although there are tokens.
    """
    if no_auth and tokens:
        raise InputError(f"--no-auth says that no token is needed, but {VARIABLE} is set: drop one")
    if not tokens and not no_auth and not _is_loopback(host):
        raise InputError(
            f"--host {host} can be reached from other machines, and no token is set: set {VARIABLE}, "
            "listen on 127.0.0.1, or say --no-auth"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
