create function tally.property_measures() returns text[]
language sql immutable parallel safe
as $$ select tally.measures() || array['unique', 'latest', 'p50', 'p90', 'p99'] $$;
alter function tally.property_measures owner to tally_owner;
revoke all on function tally.property_measures from public;
grant execute on function tally.property_measures to tally_tenant;
comment on function tally.property_measures is
  'What can be measured of events, of any number and of anything distinct: tally.measures and unique, latest, p50, p90, p99. The service knows the same, which a test compares.';
