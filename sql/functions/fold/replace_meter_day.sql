-- Makes the rows of a day of a meter, and of its quarter hours, equal to the given ones: changes what
-- differs, removes what is gone, leaves the rest untouched. A final row that changes starts a new
-- revision; one that is gone stays with 0, so that its change can be told, unless it names an actor
-- or a session, since erased names must go. The caller holds the tenant's lock.
create function tally.replace_meter_day(
  p_tenant tally.tenant_context, p_meter uuid, p_from timestamptz, p_to timestamptz,
  p_rows tally.meter_summaries[]
)
returns void
language plpgsql volatile strict
set search_path = ''
-- The planner cannot know how many rows p_rows has; a nested loop would be quadratic in it.
set enable_nestloop = off
as $$
declare
  v_id uuid := p_tenant.tenant_id;
  v_names_people boolean := exists (
    select from tally.meters as m
    where m.tenant_id = p_tenant.tenant_id
      and m.meter_id = p_meter
      and m.dimensions && array['actorId', 'sessionId']);
  -- What is counted for the first time corrects nothing.
  v_was_filled boolean := exists (
    select from tally.meters as m
    where m.tenant_id = p_tenant.tenant_id and m.meter_id = p_meter and m.filled_from <= p_from);
  v_locked_at timestamptz := clock_timestamp();
begin
  delete from tally.meter_summaries as s
  where s.tenant_id = v_id
    and s.meter_id = p_meter
    and s.period_type in ('q', 'd')
    and s.period_start >= p_from
    and s.period_start < p_to
    and (s.final_at is null and s.revision = 1 or v_names_people and s.part = 'g')
    and not exists (
      select from unnest(p_rows) as r
      where r.period_type = s.period_type
        and r.part = s.part
        and r.period_start = s.period_start
        and r.group_key = s.group_key);
  update tally.meter_summaries as s
  set
    event_count = 0,
    value_count = 0,
    value_sum = null,
    value_min = null,
    value_max = null,
    value_errors = 0,
    uniques = null,
    value_histogram = null,
    largest_group = 0,
    revision = s.revision + (s.final_at is not null)::integer,
    updated_at = v_locked_at,
    final_at = null
  where s.tenant_id = v_id
    and s.meter_id = p_meter
    and s.period_type in ('q', 'd')
    and s.period_start >= p_from
    and s.period_start < p_to
    and s.event_count > 0
    and not exists (
      select from unnest(p_rows) as r
      where r.period_type = s.period_type
        and r.part = s.part
        and r.period_start = s.period_start
        and r.group_key = s.group_key);
  insert into tally.meter_summaries as s (
    tenant_id, meter_id, period_type, part, period_start, group_key, event_count, value_count,
    value_sum, value_min, value_max, value_errors, uniques, largest_group, revision, updated_at,
    value_histogram
  )
  select
    v_id, p_meter, r.period_type, r.part, r.period_start, r.group_key, r.event_count, r.value_count,
    r.value_sum, r.value_min, r.value_max, r.value_errors, r.uniques, r.largest_group,
    1 + (
      r.period_type = 'd' and v_was_filled and r.period_start < p_tenant.days_finalized_to)::integer,
    v_locked_at, r.value_histogram
  from unnest(p_rows) as r
  order by r.period_type, r.part, r.period_start, r.group_key
  on conflict (tenant_id, meter_id, period_type, part, period_start, group_key) do update set
    event_count = excluded.event_count,
    value_count = excluded.value_count,
    value_sum = excluded.value_sum,
    value_min = excluded.value_min,
    value_max = excluded.value_max,
    value_errors = excluded.value_errors,
    uniques = excluded.uniques,
    largest_group = excluded.largest_group,
    revision = s.revision + (s.final_at is not null)::integer,
    updated_at = excluded.updated_at,
    final_at = null,
    value_histogram = excluded.value_histogram
  where (
      s.event_count, s.value_count, s.value_sum, s.value_min, s.value_max, s.value_errors,
      s.largest_group, s.value_histogram
    ) is distinct from (
      excluded.event_count, excluded.value_count, excluded.value_sum, excluded.value_min,
      excluded.value_max, excluded.value_errors, excluded.largest_group,
      excluded.value_histogram)
    or s.uniques is null <> (excluded.uniques is null)
    or s.uniques operator(public.<>) excluded.uniques;
end
$$;
alter function tally.replace_meter_day owner to tally_owner;
revoke all on function tally.replace_meter_day from public;
comment on function tally.replace_meter_day is
  'Makes the rows of a day of a meter equal to the given ones, under the tenant''s lock.';
