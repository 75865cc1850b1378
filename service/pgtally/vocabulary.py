"""The words that HTTP, the command line and SQL share. Each is said once here and once in SQL; a
test compares the two."""

from typing import Literal, get_args

Scope = Literal["ingest", "read", "admin"]
# Classes of requests; the last two count what requests bring instead.
RateClass = Literal["ingest", "bulk", "analytics", "summaries", "tenants", "events", "bytes"]
Quota = Literal["events", "rejected", "rejectedBytes", "receipts"]
Measure = Literal["count", "uniqueActors", "sum", "avg", "min", "max"]
# What can be measured of any number and of anything distinct.
PropertyMeasure = Literal[
    "count", "uniqueActors", "sum", "avg", "min", "max", "unique", "latest", "p50", "p90", "p99"
]
PeriodType = Literal["day", "week", "month"]
Interval = Literal["hour", "day", "week", "month"]

SCOPES: tuple[Scope, ...] = get_args(Scope)
RATE_CLASSES: tuple[RateClass, ...] = get_args(RateClass)
QUOTAS: tuple[Quota, ...] = get_args(Quota)
MEASURES: tuple[Measure, ...] = get_args(Measure)
PROPERTY_MEASURES: tuple[PropertyMeasure, ...] = get_args(PropertyMeasure)

# The columns of an event as arguments of the ingest functions, and their types.
EVENT_COLUMNS = {
    "occurred_at": "timestamptz",
    "event_id": "uuid",
    "event_type": "text",
    "value": "numeric",
    "actor_id": "text",
    "session_id": "text",
    "data": "jsonb",
}
