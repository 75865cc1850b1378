-- depends: 0011.meters
-- Doors for other clients: rejected events name the door that they came through.
set local lock_timeout = '5s';
set local statement_timeout = '10min';
set local role tally_owner;

alter table tally.rejected_events drop constraint rejected_events_source_check;
alter table tally.rejected_events
  add constraint rejected_events_source_check check (source ~ '^[a-z]{1,20}$');
comment on table tally.rejected_events is
  'Events that lenient requests and clients of the other doors sent and that could not be stored, kept for 30 days so that nothing is lost: to be looked at and replayed.';
comment on column tally.rejected_events.source is 'bulk: in the form of POST /events; else the door that it came through: segment, posthog, cloudevents, browser.';

insert into tally.schema_migrations (migration_id) values ('0008.doors');
