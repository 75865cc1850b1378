-- Recomputes days from quarter hours, or weeks and months from days, for the periods that touch a
-- range. The caller holds the tenant's lock.
create function tally.derive_summaries(
  p_tenant tally.tenant_context, p_period_type text, p_from timestamptz, p_to timestamptz
)
returns integer
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_source text := case when p_period_type = 'day' then 'quarter_hour' else 'day' end;
  v_from timestamptz := tally.period_start(p_from, p_period_type, p_tenant.time_zone, p_tenant.week_start);
  v_to timestamptz := tally.period_ceiling(p_to, p_period_type, p_tenant.time_zone, p_tenant.week_start);
  v_rows tally.summaries[];
begin
  with derived as (
    select
      p_tenant.tenant_id, p_period_type::"char", k.kind,
      tally.period_start(s.period_start, p_period_type, p_tenant.time_zone, p_tenant.week_start),
      k.event_type, sum(s.event_count)::bigint, sum(s.value_count)::bigint,
      sum(s.value_sum), min(s.value_min), max(s.value_max), public.hll_union_agg(s.actors), 1, now(),
      null::timestamptz, null::timestamp, null::date, null::bigint
    from tally.summaries as s
    -- Quarter hours have no rows of all types; from days on each kind comes of its own.
    cross join lateral (
      values (s.kind, s.event_type), (case when v_source = 'quarter_hour' then 'all'::"char" end, '')
    ) as k (kind, event_type)
    where s.tenant_id = p_tenant.tenant_id
      and s.period_type = v_source::"char"
      and s.kind in ('e', 'a')
      and s.period_start >= v_from
      and s.period_start < v_to
      and s.event_count > 0
      and k.kind is not null
    group by k.kind, 4, k.event_type
  )
  select coalesce(array_agg(row(derived.*)::tally.summaries), '{}') into v_rows from derived;
  return tally.replace_summaries(p_tenant, p_period_type, v_from, v_to, v_rows);
end
$$;
alter function tally.derive_summaries owner to tally_owner;
revoke all on function tally.derive_summaries from public;
comment on function tally.derive_summaries is
  'Recomputes the days, weeks or months that touch a range from the next finer rows; returns how many changed.';
