-- Makes the summaries of one period type in a range equal to the given rows: changes what differs,
-- removes what is gone, leaves the rest untouched. A final row that changes starts a new revision;
-- one that is gone stays with 0, so that api.summary_changes can tell. The caller holds the
-- tenant's row.
create function tally.replace_summaries(
  p_tenant uuid, p_period_type text, p_from timestamptz, p_to timestamptz,
  p_rows tally.summaries[]
)
returns integer
language plpgsql volatile strict
set search_path = ''
-- The planner cannot know how many rows p_rows has; a nested loop would be quadratic in it.
set enable_nestloop = off
as $$
declare
  v_locked_at timestamptz := clock_timestamp();
  v_removed integer;
  v_emptied integer;
  v_changed integer;
begin
  delete from tally.summaries as s
  where s.tenant_id = p_tenant
    and s.period_type = p_period_type
    and s.period_start >= p_from
    and s.period_start < p_to
    and s.metric_kind <> 'defined'
    and s.final_at is null
    and s.revision = 1
    and not exists (
      select from unnest(p_rows) as r
      where r.period_start = s.period_start
        and r.metric_kind = s.metric_kind
        and r.metric = s.metric);
  get diagnostics v_removed = row_count;
  update tally.summaries as s
  set
    event_count = 0,
    value_count = 0,
    value_sum = null,
    value_min = null,
    value_max = null,
    actors = null,
    revision = s.revision + (s.final_at is not null)::integer,
    updated_at = v_locked_at,
    final_at = null
  where s.tenant_id = p_tenant
    and s.period_type = p_period_type
    and s.period_start >= p_from
    and s.period_start < p_to
    and s.metric_kind <> 'defined'
    and s.event_count > 0
    and not exists (
      select from unnest(p_rows) as r
      where r.period_start = s.period_start
        and r.metric_kind = s.metric_kind
        and r.metric = s.metric);
  get diagnostics v_emptied = row_count;
  insert into tally.summaries as s (
    tenant_id, period_type, period_start, metric_kind, metric, event_count, value_count, value_sum,
    value_min, value_max, actors, updated_at, revision
  )
  select
    p_tenant, p_period_type, r.period_start, r.metric_kind, r.metric, r.event_count, r.value_count,
    r.value_sum, r.value_min, r.value_max, r.actors, v_locked_at,
    1 + (r.period_start < tally.finalized_to(t, p_period_type))::integer
  from unnest(p_rows) as r
  join tally.tenants as t on t.tenant_id = p_tenant
  on conflict (tenant_id, period_type, period_start, metric_kind, metric, dimensions) do update set
    event_count = excluded.event_count,
    value_count = excluded.value_count,
    value_sum = excluded.value_sum,
    value_min = excluded.value_min,
    value_max = excluded.value_max,
    actors = excluded.actors,
    revision = s.revision + (s.final_at is not null)::integer,
    updated_at = excluded.updated_at,
    final_at = null
  where (s.event_count, s.value_count, s.value_sum, s.value_min, s.value_max)
      is distinct from (excluded.event_count, excluded.value_count, excluded.value_sum,
        excluded.value_min, excluded.value_max)
    or s.actors is null <> (excluded.actors is null)
    or s.actors operator(public.<>) excluded.actors;
  get diagnostics v_changed = row_count;
  return v_removed + v_emptied + v_changed;
end
$$;
alter function tally.replace_summaries owner to tally_owner;
revoke all on function tally.replace_summaries from public;
comment on function tally.replace_summaries is
  'Makes the summaries of a period type in a range equal to the given rows; returns how many it changed or removed.';
