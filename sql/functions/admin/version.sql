create function tally.version() returns text
language sql immutable
set search_path = ''
as $$ select '1.0.0' $$;
alter function tally.version owner to tally_owner;
revoke all on function tally.version from public;
grant execute on function tally.version to tally_bi;
comment on function tally.version is
  'The version of pgtally whose functions this database has. The package takes its version from here.';
