"""What somebody writes who has generated a client from the OpenAPI document: stores, counts with a
filter, breaks down, pages. It gets the address and a key, and prints what it has seen."""

import os

from generated.api.analytics import break_down_events, count_events
from generated.api.events import create_event, create_events, list_events
from generated.client import AuthenticatedClient
from generated.models import CountEventsData, Envelope, Event, EventData

client = AuthenticatedClient(os.environ["PGTALLY_URL"], token=os.environ["PGTALLY_KEY"])
pro = EventData.from_dict({"plan": "pro", "seats": 5})
stored = create_event.sync(client=client, body=Event(type_="sale", actor_id="u1", data=pro))
many = [Event(type_="sale", value=1.5, data=EventData.from_dict({"seats": n})) for n in range(6)]
receipt = create_events.sync(client=client, body=Envelope(events=many))
# This generator writes the keys of a filter into the query as they are.
filters = CountEventsData.from_dict({"data.seats": ">=4"})
counted = count_events.sync(client=client, type_=["sale"], data=filters)
parts = break_down_events.sync(client=client, by=["data.seats"], type_=["sale"], limit=2)
pages = [list_events.sync(client=client, limit=5)]
while pages[-1].next_:
    pages.append(list_events.sync(client=client, limit=5, before=pages[-1].next_))
print(stored.data["plan"], receipt.accepted, counted.total, [len(page.events) for page in pages])
print([[group.values, group.total] for group in parts.groups], parts.other.total, parts.total)
