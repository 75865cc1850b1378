-- depends: 0011.meters
-- Changes of calendar keep revisions: what they have to remember of the calendars before.
set local lock_timeout = '5s';
set local statement_timeout = '60s';
set local role tally_owner;

alter table tally.tenant_state
  add column told_to timestamptz not null default '-infinity',
  add column late_revision integer not null default 2;
comment on column tally.tenant_state.told_to is 'Periods that ended by then may have been final under an earlier calendar.';
comment on column tally.tenant_state.late_revision is 'The revision with which a row starts whose period had been final without it: 2, and after a change of calendar more than any that was told before.';

alter type tally.tenant_context
  add attribute told_to timestamptz,
  add attribute late_revision integer;

comment on table tally.summaries is
  'Totals of each period and event type. Together with the deltas not yet folded they equal the raw events at every moment. A row that was final and has lost all its events, or its period, stays, with 0, so that its change can be told.';
comment on column tally.summaries.revision is 'Starts at 1 and goes up each time that a final figure changes, also from or to nothing.';
comment on column tally.summaries.updated_at is 'When the figures last changed or, if they had been corrected, became final again, by the clock while the tenant was locked: in commit order for each tenant.';
comment on column tally.summaries.final_at is 'When the row was last checked against the raw events after its period had ended; NULL while it is open, and again after a late event. Of a row whose period a change of calendar has done away with, the moment of that change.';

insert into tally.schema_migrations (migration_id) values ('0005.calendar');
