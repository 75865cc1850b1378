"""The rate limit: token buckets in the database, spent from small lots taken in advance.

A bucket holds and refills `limit` tokens a minute. A process takes a lot of 1/20 of that and spends
it within two seconds without asking again, so most requests cost no round trip and the limit holds
over all processes. Tokens of a lot that are not spent in time are lost to the caller, never gained.
"""

import asyncio
import contextlib
import ipaddress
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from typing import TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec

from pgtally.database import Database
from pgtally.http.passage import Caller
from pgtally.problems import Problem, unavailable
from pgtally.settings import Settings
from pgtally.vocabulary import RATE_CLASSES, RateClass

TAKE = """
  select taken, remaining, retry_after_ms
  from api.rate_take(
    p_bucket => %(bucket)s::text,
    p_per_minute => %(limit)s::bigint,
    p_wanted => %(wanted)s::bigint,
    p_least => %(least)s::bigint)
"""
LOT_SECONDS = 2.0
LOTS_A_MINUTE = 20
REMEMBERED = 100_000
LOOK_UPS_AT_ONCE = 4
HELD_BYTES_OF_ONE = 33_554_432
HELD_BYTES = 134_217_728
K = TypeVar("K")
V = TypeVar("V")


def remember(entries: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    """Puts an entry last and forgets the first where there are too many: whoever fills the memory
    makes it forget what was used longest ago, not everybody."""
    entries[key] = value
    entries.move_to_end(key)
    if len(entries) > most:
        entries.popitem(last=False)


class Lot(msgspec.Struct):
    """Tokens in hand, and until when they may be spent; until when no `refused` tokens are to be
    had."""

    tokens: int = 0
    remaining: int = 0
    until: float = 0.0
    blocked_until: float = 0.0
    refused: int = 0
    asking: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)

    def has_to_ask(self, cost: int) -> bool:
        now = time.monotonic()
        if now < self.until and self.tokens >= cost:
            return False
        return now >= self.blocked_until or cost < self.refused


class RateLimit:
    """Counts requests by tenant and class, or by the lineage of the key where it has a limit of its
    own, so that rotating it gives no more."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._limits: dict[str, int] = {
            name: getattr(settings, f"{name}_per_minute") for name in RATE_CLASSES
        }
        self._lots: OrderedDict[tuple[int, RateClass, bool], Lot] = OrderedDict()

    async def spend(self, caller: Caller, rate_class: RateClass, cost: int = 1) -> dict[str, str]:
        """Spends tokens and returns the headers that tell of it. What costs more than a minute's
        worth takes all of it. Raises Problem 429."""
        owner = caller.tenant_id or caller.key_id
        limit = caller.tenant_limits_per_minute.get(rate_class, self._limits[rate_class])
        if rate_class in caller.key_limits_per_minute:
            owner = caller.lineage_id
            limit = caller.key_limits_per_minute[rate_class]
        counts_content = rate_class in ("events", "bytes")
        what = rate_class if counts_content else f"{rate_class} requests"
        if limit == 0:
            verb = "send" if counts_content else "make"
            raise Problem(429, f"this key may {verb} no {what}", headers={"Retry-After": "60"})
        cost = min(cost, limit)
        # A UUID itself takes ten times as long to look up. Who looks through share links uses up
        # nothing of what the tenant's keys have.
        is_shared = caller.view is not None
        place = owner.int, rate_class, is_shared
        lot = self._lots.get(place) or Lot()
        remember(self._lots, place, lot, REMEMBERED)
        if lot.has_to_ask(cost):
            async with lot.asking:
                # Another request may have asked while this one waited for its turn.
                if lot.has_to_ask(cost):
                    bucket = f"{owner}:{rate_class}{':shared' * is_shared}"
                    await self._take(lot, bucket, limit, cost)
        left = max(0, lot.tokens - cost) + lot.remaining
        reset_seconds = math.ceil((limit - min(left, limit)) * 60 / limit)
        headers = {
            "ratelimit-policy": f'"{rate_class}";q={limit};w=60',
            "ratelimit": f'"{rate_class}";r={left};t={reset_seconds}',
        }
        if not counts_content:
            headers["x-ratelimit-limit"] = str(limit)
            headers["x-ratelimit-remaining"] = str(left)
            headers["x-ratelimit-reset"] = str(reset_seconds)
        if lot.tokens < cost:
            wait_seconds = max(1, math.ceil(lot.blocked_until - time.monotonic()))
            raise Problem(
                429,
                f"more than {limit:,} {what} a minute",
                headers={**headers, "Retry-After": str(wait_seconds)},
            )
        lot.tokens -= cost
        return headers

    async def _take(self, lot: Lot, bucket: str, limit: int, cost: int) -> None:
        now = time.monotonic()
        in_hand = lot.tokens if now < lot.until else 0
        least = cost - in_hand
        arguments = {
            "bucket": bucket, "limit": limit, "least": least,
            "wanted": max(least, limit // LOTS_A_MINUTE),
        }  # fmt: skip
        rows = await self._database.call(TAKE, arguments, repeatable=False)
        taken, lot.remaining, retry_after_ms = rows[0]
        lot.tokens = in_hand + taken
        if taken:
            lot.until = now + LOT_SECONDS
        lot.blocked_until = now + retry_after_ms / 1000
        lot.refused = 0 if taken else cost


class AtOnce:
    """Bounds how many batches of a tenant are under way in this process, before their bodies are
    read: each may hold the largest body in memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: Counter[UUID | None] = Counter()

    @contextlib.contextmanager
    def one(self, tenant: UUID | None) -> Iterator[None]:
        """Raises Problem 429 for one too many."""
        if self._under_way[tenant] >= self._most:
            raise Problem(
                429, f"more than {self._most:,} batches at once", headers={"Retry-After": "1"}
            )
        self._under_way[tenant] += 1
        try:
            yield
        finally:
            self._under_way[tenant] -= 1
            if not self._under_way[tenant]:
                del self._under_way[tenant]


class Held:
    """Bounds the bytes of bodies whose key is not known yet, which are in memory for nobody: those
    of one address, and of all in this process."""

    def __init__(self, most_of_one: int = HELD_BYTES_OF_ONE, most: int = HELD_BYTES) -> None:
        self._most_of_one = most_of_one
        self._most = most
        self._bytes: Counter[str] = Counter()

    @contextlib.contextmanager
    def by(self, address: str) -> Iterator[Callable[[int], None]]:
        """Gives what counts further bytes, until the end. It raises Problem 429 or 503."""
        network = _network(address)
        held = 0

        def hold(more: int) -> None:
            nonlocal held
            if self._bytes[network] + more > self._most_of_one:
                text = "too many bodies at once that do not have their key in a header"
                raise Problem(429, text, headers={"Retry-After": "1"})
            if self._bytes.total() + more > self._most:
                raise unavailable("too many bodies at once that do not have their key in a header")
            self._bytes[network] += more
            held += more

        try:
            yield hold
        finally:
            self._bytes[network] -= held
            if not self._bytes[network]:
                del self._bytes[network]


class AddressLimit:
    """Counts, in this process, the wrong keys of each address, and the rest of its network for
    IPv6. A valid key never counts here."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def turn(self, address: str) -> asyncio.Semaphore:
        """Lets a few of an address go at once, so that it is not far over its tries when they
        turn out to be wrong."""
        return self._turns.setdefault(_network(address), asyncio.Semaphore(LOOK_UPS_AT_ONCE))

    def check(self, address: str) -> None:
        """Raises Problem 429 if the address has used up its tries."""
        self._tokens(address)

    def spend(self, address: str) -> None:
        """Counts a wrong key. Raises Problem 429 instead of the answer it would have had."""
        tokens = self._tokens(address)
        remember(self._buckets, _network(address), (tokens - 1, time.monotonic()), REMEMBERED)

    def _tokens(self, address: str) -> float:
        tokens, at = self._buckets.get(_network(address), (float(self._per_minute), 0.0))
        rate = self._per_minute / 60
        tokens = min(self._per_minute, tokens + (time.monotonic() - at) * rate)
        if tokens < 1:
            raise Problem(
                429,
                f"more than {self._per_minute} requests a minute without a valid key",
                headers={"Retry-After": str(math.ceil((1 - tokens) / rate))},
            )
        return tokens


def _network(address: str) -> str:
    """An IPv6 network of 64 bits belongs to one customer; an IPv4 address counts by itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4 or (mapped := parsed.ipv4_mapped):
        return str(parsed if parsed.version == 4 else mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
