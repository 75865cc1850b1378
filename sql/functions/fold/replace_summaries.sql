-- Makes the summaries of one period type in a range equal to the given rows: changes what differs,
-- removes what is gone, leaves the rest untouched. A final row that changes starts a new revision;
-- one that is gone stays with 0, so that api.summary_changes can tell. The caller holds the
-- tenant's lock.
create function tally.replace_summaries(
  p_tenant tally.tenant_context, p_period_type text, p_from timestamptz, p_to timestamptz,
  p_rows tally.summaries[]
)
returns integer
language plpgsql volatile strict
set search_path = ''
-- The planner cannot know how many rows p_rows has; a nested loop would be quadratic in it.
set enable_nestloop = off
as $$
declare
  v_id uuid := p_tenant.tenant_id;
  v_told_to timestamptz := tally.told_to(p_tenant, p_period_type);
  v_locked_at timestamptz := clock_timestamp();
  v_removed integer;
  v_emptied integer;
  v_changed integer;
begin
  delete from tally.summaries as s
  where s.tenant_id = v_id
    and s.period_type = p_period_type::"char"
    and s.kind in ('e', 'a')
    and s.period_start >= p_from
    and s.period_start < p_to
    and s.final_at is null
    and s.revision = 1
    and not exists (
      select from unnest(p_rows) as r
      where r.period_start = s.period_start
        and r.kind = s.kind
        and r.event_type = s.event_type);
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
  where s.tenant_id = v_id
    and s.period_type = p_period_type::"char"
    and s.kind in ('e', 'a')
    and s.period_start >= p_from
    and s.period_start < p_to
    and s.event_count > 0
    and not exists (
      select from unnest(p_rows) as r
      where r.period_start = s.period_start
        and r.kind = s.kind
        and r.event_type = s.event_type);
  get diagnostics v_emptied = row_count;
  with changed as (
    insert into tally.summaries as s (
      tenant_id, period_type, kind, period_start, event_type, event_count, value_count, value_sum,
      value_min, value_max, actors, updated_at, revision, local_start
    )
    select
      v_id, p_period_type::"char", r.kind, r.period_start, r.event_type, r.event_count,
      r.value_count, r.value_sum, r.value_min, r.value_max, r.actors, v_locked_at,
      case when r.period_start < v_told_to then p_tenant.late_revision else 1 end,
      tally.local_time(r.period_start, p_tenant.time_zone)
    from unnest(p_rows) as r
    -- Where neighbours of the key lie side by side, a range of them is read in half of the time.
    order by r.kind, r.period_start, r.event_type
    on conflict (tenant_id, period_type, kind, period_start, event_type) do update set
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
      or s.actors operator(public.<>) excluded.actors
    returning 1
  )
  select count(*) into v_changed from changed;
  return v_removed + v_emptied + v_changed;
end
$$;
alter function tally.replace_summaries owner to tally_owner;
revoke all on function tally.replace_summaries from public;
comment on function tally.replace_summaries is
  'Makes the summaries of a period type in a range equal to the given rows; returns how many it changed or removed.';
