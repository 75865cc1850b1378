"""Who is calling? API keys, found by their sha-256 and remembered for a moment."""

import hashlib
import time
from typing import Any
from uuid import UUID

import msgspec

from service.database import Database
from service.problems import Problem

FIND = """
  select key_id, tenant_id, scopes, rate_limits_per_minute
  from api.key_find(p_key_hash => %(key_hash)s::bytea)
"""
REMEMBERED = 10_000


class Caller(msgspec.Struct, frozen=True):
    """The holder of a valid key. An admin key has no tenant."""

    key_id: UUID
    tenant_id: UUID | None
    scopes: list[str]
    limits_per_minute: dict[str, int]

    @property
    def tenant(self) -> UUID:
        """The tenant of a key that has one, as every key with scope ingest or read does."""
        if self.tenant_id is None:
            raise Problem(403, "this endpoint needs the key of a tenant")
        return self.tenant_id


class Keys:
    """Finds callers. An answer, also 'no such key', holds for key_cache_seconds."""

    def __init__(self, database: Database, cache_seconds: float) -> None:
        self._database = database
        self._cache_seconds = cache_seconds
        self._known: dict[bytes, tuple[float, Caller | None]] = {}

    async def find(self, headers: Any) -> Caller:
        """The caller named by X-API-Key or Authorization: Bearer. Raises Problem 401."""
        key = headers.get("x-api-key", "")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            token = token.strip()
            if key and token and key != token:
                raise _unauthorized("X-API-Key and Authorization name different keys")
            key = key or token
        if not key:
            raise _unauthorized("no API key: send it as X-API-Key, or as Authorization: Bearer")
        if len(key) > 200:
            raise _unauthorized("unknown, expired or revoked API key")
        key_hash = hashlib.sha256(key.encode("latin-1", "replace")).digest()
        now = time.monotonic()
        until, caller = self._known.get(key_hash, (0.0, None))
        if until <= now:
            rows = await self._database.call(FIND, {"key_hash": key_hash})
            caller = Caller(*rows[0]) if rows else None
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key_hash] = (now + self._cache_seconds, caller)
        if caller is None:
            raise _unauthorized("unknown, expired or revoked API key")
        return caller


def _unauthorized(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="pgtally"'})
