-- The part of a range in which a tenant has anything, raw events, deltas or summaries; NULL if it
-- has nothing there. What verify and rebuild walk through: it touches every period that has a
-- summary, of whatever type. Cost: two probes of each partition and kind of row.
create function tally.data_extent(
  p_tenant tally.tenant_context, p_from timestamptz, p_to timestamptz,
  out first_at timestamptz, out last_at timestamptz
)
language plpgsql stable strict
set search_path = ''
as $$
begin
  with ends as (
    -- A week or month begins before its first event and ends after its last, so that is no bound of
    -- the data: its last moment is for the first, its first for the last.
    select
      case when k.period_type in ('q', 'd') then f.first_at else tally.period_end(
        f.first_at, tally.period_type_name(k.period_type), p_tenant.time_zone, p_tenant.week_start)
        - interval '1 microsecond' end as first_at,
      case when k.period_type in ('q', 'd') then tally.period_end(
        f.last_at, 'day', p_tenant.time_zone, p_tenant.week_start)
        else f.last_at + interval '1 microsecond' end as last_at
    from (
      values
        ('q'::"char", 'e'::"char"), ('d', 'e'), ('d', 'a'), ('w', 'e'), ('w', 'a'), ('m', 'e'),
        ('m', 'a')
    ) as k (period_type, kind)
    cross join lateral (
      select min(s.period_start) as first_at, max(s.period_start) as last_at
      from tally.summaries as s
      where s.tenant_id = p_tenant.tenant_id
        and s.period_type = k.period_type
        and s.kind = k.kind
        and s.event_count > 0
    ) as f
    union all
    select
      min(d.quarter_hour),
      tally.period_end(max(d.quarter_hour), 'day', p_tenant.time_zone, p_tenant.week_start)
    from tally.summary_deltas as d
    where d.tenant_id = p_tenant.tenant_id
    union all
    select min(e.occurred_at), max(e.occurred_at) + interval '1 microsecond'
    from tally.events as e
    where e.tenant_id = p_tenant.tenant_id
  )
  select greatest(p_from, min(ends.first_at)), least(p_to, max(ends.last_at))
  into first_at, last_at
  from ends
  having min(ends.first_at) is not null;
end
$$;
alter function tally.data_extent owner to tally_owner;
revoke all on function tally.data_extent from public;
comment on function tally.data_extent is
  'The part of a range in which the tenant has raw events, deltas or summaries; NULL if there is none.';
