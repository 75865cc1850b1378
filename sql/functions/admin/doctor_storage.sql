-- Backlog, healed summaries, partitions.
create function tally.doctor_storage()
returns table (check_name text, status text, message text, remedy text)
language plpgsql stable
set search_path = ''
as $$
begin
  return query
  select
    'deltas waiting', case when count(*) > 1000000 then 'late' else 'ok' end,
    format('%s deltas wait to be folded', count(*)), 'call tally.fold()'
  from (select from tally.summary_deltas limit 1000001) as d
  union all
  select
    'healed summaries', case when h.count > 0 then 'failed' else 'ok' end,
    format('%s summary rows differed from the raw events in the last 30 days and were rebuilt', h.count),
    'find out what wrote to tally.summaries or tally.events directly; then select * from tally.verify(tenant)'
      || ', and, once it is known, select tally.healed_acknowledge(''why'')'
  from tally.healed_rows() as h (count)
  union all
  select
    'default partition', case when count(*) >= 100000 then 'late' else 'ok' end,
    format('%s events (counted up to 100,000) lie in the default partition', count(*)),
    'call tally.maintain()'
  from (select from tally.events_default limit 100000) as e
  union all
  select
    'partitions ahead',
    case when to_regclass('tally.events_' || to_char(date_bin(
      '7 days', now() + interval '1 week', timestamptz '2001-01-01 00:00:00+00') at time zone 'UTC',
      'YYYYMMDD')) is null then 'missing' else 'ok' end,
    'the partition of next week', 'call tally.maintain()';
end
$$;
alter function tally.doctor_storage owner to tally_owner;
revoke all on function tally.doctor_storage from public;
comment on function tally.doctor_storage is 'Checks of the backlog, of healed summaries and of partitions.';
