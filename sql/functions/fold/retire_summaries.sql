-- Takes the figures out of a tenant's days, weeks or months that its new calendar cuts or calls
-- differently. A row that was ever final stays, and gets a revision above all that were told before:
-- the smaller of two, with 0 and final for good, where its beginning begins no period any more; the
-- larger, open and soon to be filled, where it does. The same for the date that it had, if that now
-- begins at another instant. Each row has a moment of its own, so that a page of changes may end
-- after any of them. The caller holds the tenant's lock.
create function tally.retire_summaries(
  p_old tally.tenant_context, p_new tally.tenant_context, p_period_type text
)
returns integer
language plpgsql volatile strict
set search_path = ''
-- As in tally.replace_summaries.
set enable_nestloop = off
as $$
declare
  v_id uuid := p_new.tenant_id;
  v_zone text := p_new.time_zone;
  v_week_start integer := p_new.week_start;
  v_starts timestamptz[] := tally.moved_starts(p_old, p_new, p_period_type);
  v_types text[];
  v_dates date[];
begin
  -- Nobody is told of rows of all types.
  delete from tally.summaries as s
  using unnest(v_starts) as m (at)
  where s.tenant_id = v_id
    and s.period_type = p_period_type::"char"
    and s.period_start = m.at
    and (s.kind = 'all'::"char" or (s.final_at is null and s.revision = 1));
  with emptied as (
    update tally.summaries as s
    set
      event_count = 0,
      value_count = 0,
      value_sum = null,
      value_min = null,
      value_max = null,
      actors = null,
      unique_actors = null,
      revision = p_new.late_revision - (not m.begins)::integer,
      updated_at = clock_timestamp(),
      final_at = case when not m.begins then clock_timestamp() end
    from (
      select
        u.at, tally.period_start(u.at, p_period_type, v_zone, v_week_start) = u.at as begins,
        tally.period_start(u.at, p_period_type, p_old.time_zone, p_old.week_start) = u.at as began
      from unnest(v_starts) as u (at)
    ) as m
    where s.tenant_id = v_id
      and s.period_type = p_period_type::"char"
      and s.kind = 'event_type'::"char"
      and s.period_start = m.at
      -- Not those that an earlier change has retired: under the date that they show now there may be
      -- a period that both calendars cut alike.
      and (m.begins or m.began)
    returning
      s.event_type,
      case when m.began then tally.local_date(s.period_start, p_old.time_zone) end as on_date
  )
  select array_agg(e.event_type), array_agg(e.on_date) into v_types, v_dates
  from emptied as e;
  insert into tally.summaries as s (
    tenant_id, period_type, kind, period_start, event_type, event_count, value_count, updated_at,
    revision, final_at, local_start
  )
  select
    v_id, p_period_type::"char", 'event_type'::"char", d.at, e.event_type, 0, 0, clock_timestamp(),
    p_new.late_revision - (not d.begins)::integer, case when not d.begins then clock_timestamp() end,
    tally.local_time(d.at, v_zone)
  from (
    select distinct u.event_type, u.on_date
    from unnest(v_types, v_dates) as u (event_type, on_date)
    where u.on_date is not null
  ) as e
  cross join lateral tally.day_start(e.on_date, v_zone) as t (at)
  cross join lateral (
    select t.at, tally.period_start(t.at, p_period_type, v_zone, v_week_start) = t.at as begins
  ) as d
  on conflict (tenant_id, period_type, kind, period_start, event_type) do update set
    revision = excluded.revision,
    updated_at = excluded.updated_at
  where s.revision < excluded.revision;
  return coalesce(cardinality(v_types), 0);
end
$$;
alter function tally.retire_summaries owner to tally_owner;
revoke all on function tally.retire_summaries from public;
comment on function tally.retire_summaries is
  'Empties the days, weeks or months that another calendar cuts or calls differently; those that were ever final start a new revision. Returns how many.';
