-- Makes the weekly partition that holds an instant, unless it exists. Events of that week which went
-- to the default partition move with it, in this transaction: writers to the default partition
-- wait, all others go on.
create function tally.partition_create(p_at timestamptz) returns bigint
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_from timestamptz := date_bin('7 days', p_at, timestamptz '2001-01-01 00:00:00+00');
  v_to timestamptz := v_from + interval '168 hours';
  v_name text := 'events_' || to_char(v_from at time zone 'UTC', 'YYYYMMDD');
  v_moved bigint := 0;
begin
  if to_regclass('tally.' || v_name) is not null then
    return 0;
  end if;
  -- What `attach partition` locks, at once, so that two calls queue and none has to upgrade.
  lock table tally.events in share update exclusive mode;
  lock table tally.events_default in access exclusive mode;
  if to_regclass('tally.' || v_name) is not null then
    return 0;
  end if;
  execute format('create table tally.%I (like tally.events including all)', v_name);
  execute format('alter table tally.%I enable row level security', v_name);
  execute format(
    'with moved as (delete from tally.events_default where occurred_at >= %L and occurred_at < %L returning *)
     insert into tally.%I select * from moved', v_from, v_to, v_name);
  get diagnostics v_moved = row_count;
  execute format(
    'alter table tally.events attach partition tally.%I for values from (%L) to (%L)',
    v_name, v_from, v_to);
  return v_moved;
end
$$;
alter function tally.partition_create owner to tally_owner;
revoke all on function tally.partition_create from public;
comment on function tally.partition_create is
  'Makes the weekly partition of tally.events that holds the instant, unless it exists; returns how many events moved there from the default partition.';
