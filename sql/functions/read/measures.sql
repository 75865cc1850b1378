create function tally.measures() returns text[]
language sql immutable parallel safe
as $$ select array['count', 'uniqueActors', 'sum', 'avg', 'min', 'max'] $$;
alter function tally.measures owner to tally_owner;
revoke all on function tally.measures from public;
grant execute on function tally.measures to tally_tenant, tally_bi;
comment on function tally.measures is
  'What can be measured of events; tally.measure reads each off totals. The service knows the same, which a test compares.';
