-- The next local day that rebuild has to look at, from p_from (the beginning of a day) until before
-- p_to: one that holds raw events, deltas or summaries, or on which a week or month begins that has
-- a summary and no such day. NULL if there is none. Cost: a probe where the day at p_from holds
-- events, otherwise one of each partition and kind of row.
create function tally.next_day(
  p_tenant tally.tenant_context, p_from timestamptz, p_to timestamptz
)
returns timestamptz
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_id uuid := p_tenant.tenant_id;
  v_zone text := p_tenant.time_zone;
  v_week_start integer := p_tenant.week_start;
  v_end timestamptz := tally.period_end(p_from, 'day', v_zone, v_week_start);
  v_next timestamptz;
  v_alone timestamptz;
begin
  if p_from >= p_to then
    return null;
  elsif exists (
    select from tally.events as e
    where e.tenant_id = v_id and e.occurred_at >= p_from and e.occurred_at < v_end)
  then
    return p_from;
  end if;
  select least(
    (select min(e.occurred_at) from tally.events as e
      where e.tenant_id = v_id and e.occurred_at >= p_from and e.occurred_at < p_to),
    (select min(d.quarter_hour) from tally.summary_deltas as d
      where d.tenant_id = v_id and d.quarter_hour >= p_from and d.quarter_hour < p_to),
    min(f.first_at))
  into v_next
  from (values ('q'::"char", 'e'::"char"), ('d', 'e'), ('d', 'a')) as k (period_type, kind)
  cross join lateral (
    select min(s.period_start) as first_at
    from tally.summaries as s
    where s.tenant_id = v_id
      and s.period_type = k.period_type
      and s.kind = k.kind
      and s.period_start >= p_from
      and s.period_start < p_to
      and s.event_count > 0
  ) as f;
  v_next := tally.period_start(v_next, 'day', v_zone, v_week_start);
  select min(s.period_start) into v_alone
  from tally.summaries as s
  where s.tenant_id = v_id
    and s.period_type in ('w', 'm')
    and s.kind in ('e', 'a')
    and s.period_start >= p_from
    and s.period_start < coalesce(v_next, p_to)
    and s.event_count > 0
    and tally.period_end(s.period_start, tally.period_type_name(s.period_type), v_zone, v_week_start)
      <= coalesce(v_next, 'infinity');
  return least(v_alone, v_next);
end
$$;
alter function tally.next_day owner to tally_owner;
revoke all on function tally.next_day from public;
comment on function tally.next_day is
  'The next local day that holds raw events, deltas or summaries of the tenant, or begins a week or month that alone has a summary; NULL if there is none.';
