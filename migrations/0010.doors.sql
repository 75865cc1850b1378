-- depends: 0009.calendar
-- Doors for other clients: rejected events name the door that they came through; keys can be bound to
-- the pages that use them.
set local lock_timeout = '5s';
set local statement_timeout = '10min';
set local role tally_owner;

-- Wider than the one that it replaces; the table holds 30 days of what was rejected, and is read once.
-- squawk-ignore ban-drop-constraint
alter table tally.rejected_events drop constraint rejected_events_source_check;
alter table tally.rejected_events
  -- squawk-ignore constraint-missing-not-valid
  add constraint rejected_events_source_check check (source ~ '^[a-z]{1,20}$');
comment on table tally.rejected_events is
  'Events that lenient requests and clients of the other doors sent and that could not be stored, kept for 30 days so that nothing is lost: to be looked at and replayed.';
comment on column tally.rejected_events.source is 'bulk: in the form of POST /events; else the door that it came through: segment, posthog, cloudevents, browser.';

-- Keys for pages: public, bound to origins.
alter table tally.api_keys add column origins text[] not null default '{}';
alter table tally.api_keys
  -- squawk-ignore constraint-missing-not-valid
  add constraint api_keys_origins check (origins = '{}' or scopes = array['ingest']);
comment on column tally.api_keys.origins is
  'The pages that may use the key: https://example.com, as browsers name them. It is public then, has the scope ingest alone, and stores events in forms whose answers tell nothing. Empty: from anywhere, except that browsers are told to keep other pages off.';

insert into tally.schema_migrations (migration_id) values ('0010.doors');
