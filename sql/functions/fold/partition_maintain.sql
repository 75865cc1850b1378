-- Makes weekly partitions four weeks ahead and moves full weeks out of the default partition. Sparse
-- weeks stay there: 2,400 of them, one event each since 1980, would slow down everybody's queries.
-- What other sessions keep busy is left for the next run, and told in error.
create procedure tally.partition_maintain(
  inout partitions integer default 0, inout moved bigint default 0, inout error text default null
)
language plpgsql
as $$
declare
  v_at timestamptz;
  v_before bigint;
begin
  moved := 0;
  select count(*) into v_before from pg_catalog.pg_inherits where inhparent = 'tally.events'::regclass;
  commit;
  for v_at in
    select generate_series(now(), now() + interval '4 weeks', interval '1 week')
    union
    select date_bin('7 days', e.occurred_at, timestamptz '2001-01-01 00:00:00+00') as week
    from tally.events_default as e
    group by week
    having count(*) >= 10000 or max(e.occurred_at) > now() - interval '2 weeks'
  loop
    begin
      moved := moved + tally.partition_create(v_at);
    exception when lock_not_available then
      error := format('partition of %s: %s; the next run tries again', v_at, sqlerrm);
      raise warning '%', error;
    end;
    commit;
    exit when error is not null;
  end loop;
  select count(*) - v_before into partitions
  from pg_catalog.pg_inherits where inhparent = 'tally.events'::regclass;
end
$$;
alter procedure tally.partition_maintain owner to tally_owner;
revoke all on procedure tally.partition_maintain from public;
comment on procedure tally.partition_maintain is
  'Makes partitions four weeks ahead and drains full weeks from the default partition; returns new partitions, moved events and what it had to leave.';
