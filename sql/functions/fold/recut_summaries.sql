-- Cuts the days, weeks or months of a tenant anew, from the finer rows, after a change of calendar.
-- A period that both calendars cut and call alike keeps its rows as they are. No two final figures
-- share a revision, whether periods are told apart by their first instant or by their date; what a
-- period was told with last, or the largest revision, is what holds. The caller holds the tenant's
-- lock.
create function tally.recut_summaries(
  p_old tally.tenant_context, p_new tally.tenant_context, p_period_type text
)
returns integer
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_changed integer := tally.retire_summaries(p_old, p_new, p_period_type);
  v_from timestamptz;
  v_end timestamptz;
  v_to timestamptz;
begin
  select w.first_at, w.last_at into v_from, v_to
  from tally.data_extent(p_new, '-infinity', 'infinity') as w;
  -- In pieces: all rows at once may be more than an array holds, and all have one moment.
  while v_from < v_to
  loop
    v_end := tally.period_ceiling(
      v_from + interval '31 days', p_period_type, p_new.time_zone, p_new.week_start);
    v_changed := v_changed + tally.derive_summaries(p_new, p_period_type, v_from, v_end);
    v_from := v_end;
  end loop;
  return v_changed;
end
$$;
alter function tally.recut_summaries owner to tally_owner;
revoke all on function tally.recut_summaries from public;
comment on function tally.recut_summaries is
  'Cuts the days, weeks or months of a tenant anew after a change of calendar; final figures that move start a new revision. Returns how many rows changed.';
