create table tally.rejected_events (
  tenant_id uuid not null,
  rejected_id bigint generated always as identity,
  event_hash bytea not null,
  rejected_at timestamptz not null default now(),
  source text not null check (source ~ '^[a-z]{1,20}$'),
  errors jsonb not null,
  event text not null,
  replayable boolean not null,
  primary key (tenant_id, rejected_id),
  unique (tenant_id, event_hash)
);
comment on table tally.rejected_events is
  'Events that lenient requests and clients of the other doors sent and that could not be stored, kept for 30 days so that nothing is lost: to be looked at and replayed.';
comment on column tally.rejected_events.event_hash is 'sha-256 of event: one that is sent again is kept once.';
comment on column tally.rejected_events.source is 'bulk: in the form of POST /events; else the door that it came through: segment, posthog, cloudevents, browser.';
comment on column tally.rejected_events.errors is 'What was wrong: [{"pointer", "detail"}].';
comment on column tally.rejected_events.event is 'The event as it came, as text, since it may not even be JSON.';
comment on column tally.rejected_events.replayable is 'Is it in the form of POST /events, so that api.rejected_replay can try it again?';

alter table tally.rejected_events enable row level security;
create policy own_tenant on tally.rejected_events
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select, insert, update, delete on tally.rejected_events to tally_tenant;

create table tally.receipts (
  tenant_id uuid not null,
  idempotency_key text not null check (length(idempotency_key) between 1 and 200),
  fingerprint bytea not null,
  created_at timestamptz not null default now(),
  accepted integer,
  duplicates integer,
  response jsonb not null,
  conflicts integer,
  primary key (tenant_id, idempotency_key)
);
comment on table tally.receipts is
  'What became of requests that carried an Idempotency-Key, written in the transaction that stored their events and kept for 7 days.';
comment on column tally.receipts.fingerprint is 'sha-256 of the request: the same key with another request is refused.';
comment on column tally.receipts.conflicts is 'Duplicates whose stored content differs from what was sent; NULL for receipts of before this was told.';
comment on column tally.receipts.response is 'The rest of the answer, so that a repeated request gets the first one''s.';

alter table tally.receipts enable row level security;
create policy own_tenant on tally.receipts
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());
grant select, insert, update on tally.receipts to tally_tenant;
