"""What a request carries on its way."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency

from pgtally.database import Database
from pgtally.http.deadlines import Deadlines
from pgtally.problems import Problem
from pgtally.vocabulary import RateClass

# What handlers are given.
Incoming = Request[Any, Any, State]
Db = NamedDependency[Database]


class Caller(msgspec.Struct, frozen=True):
    """The holder of a valid key. A key of the installation has no tenant."""

    key_id: UUID
    tenant_id: UUID | None
    scopes: list[str]
    key_limits_per_minute: dict[str, int]
    tenant_limits_per_minute: dict[str, int]
    # By which requests count where the key has a limit of its own: shared with its successors.
    lineage_id: UUID
    tenant_deleted: bool = False
    # The pages that the key is for, if it is public.
    origins: list[str] = []
    # What a share link shows; None for keys.
    view: dict[str, list[str]] | None = None

    @property
    def tenant(self) -> UUID:
        """The tenant of a key that has one, as every key with scope ingest or read does."""
        if self.tenant_id is None:
            raise Problem(403, "this endpoint needs the key of a tenant")
        return self.tenant_id


class Passage(msgspec.Struct):
    """A request on its way from the edge to its handler and back."""

    request_id: str
    # The request's headers by their names in lower case; the first where one comes twice.
    received: dict[str, str]
    deadlines: Deadlines
    # Added to the response; their names are in lower case.
    headers: dict[str, str] = {}
    caller: Caller | None = None
    key: str = ""
    # Counts events and bytes against the caller's limits.
    spend: Callable[[RateClass, int], Awaitable[dict[str, str]]] | None = None
    # Called when the response has ended, however that was.
    closing: list[Callable[[], Awaitable[object]]] = []

    async def charge(self, rate_class: RateClass, cost: int) -> None:
        """Counts what the request brings, and tells of it in its headers. Raises Problem 429."""
        if self.spend is not None:
            for name, text in (await self.spend(rate_class, cost)).items():
                told = self.headers.get(name)
                self.headers[name] = f"{told}, {text}" if told else text

    def extend(self) -> None:
        """Gives the request its whole time again."""
        self.deadlines.start()


def passage_of(scope: Any) -> Passage:
    """What this request carries."""
    found: Passage = scope["state"]["passage"]
    return found


def caller_of(request: Any) -> Caller:
    """Who asks, behind access."""
    caller = passage_of(request.scope).caller
    if caller is None:
        raise LookupError("this handler is open to everyone")
    return caller
