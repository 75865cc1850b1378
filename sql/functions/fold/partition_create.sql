-- Makes the weekly partition that holds an instant, unless it exists. Events of that week which went
-- to the default partition move with it, in this transaction. For a week in which events can occur
-- already, readers and writers wait until it is done, since a query that was planned before and
-- takes its snapshot after would miss the events that moved (seen in 1 of 3 runs of the race test).
-- The opposite, a snapshot from before with a plan from after, is what tally.partition_changes is for.
-- Gives up after 200 ms of waiting for others, because everyone else queues behind it meanwhile.
create function tally.partition_create(p_at timestamptz) returns bigint
language plpgsql volatile strict security definer
set search_path = ''
set lock_timeout = '200ms'
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
  if v_from > now() + interval '2 hours' then
    lock table only tally.events in share update exclusive mode;
  else
    lock table only tally.events in access exclusive mode;
  end if;
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
  if v_moved > 0 then
    insert into tally.partition_changes (partition_name, event_count) values (v_name, v_moved);
  end if;
  return v_moved;
end
$$;
alter function tally.partition_create owner to tally_owner;
revoke all on function tally.partition_create from public;
comment on function tally.partition_create is
  'Makes the weekly partition of tally.events that holds the instant, unless it exists; returns how many events moved there from the default partition. 55P03 if others keep the table busy for 200 ms.';
