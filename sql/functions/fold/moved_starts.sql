-- The beginnings of a tenant's days, weeks or months that have summaries and mean something else in
-- another calendar: no period of it, one that ends elsewhere, or one with another date.
create function tally.moved_starts(
  p_old tally.tenant_context, p_new tally.tenant_context, p_period_type text
)
returns timestamptz[]
language plpgsql stable strict
set search_path = ''
as $$
begin
  return array(
    select s.at
    from (
      select distinct r.period_start as at
      from tally.summaries as r
      where r.tenant_id = p_new.tenant_id
        and r.period_type = p_period_type::"char"
        and r.kind in ('e', 'a')
    ) as s
    where not (
      tally.period_start(s.at, p_period_type, p_old.time_zone, p_old.week_start) = s.at
      and tally.period_start(s.at, p_period_type, p_new.time_zone, p_new.week_start) = s.at
      and tally.period_end(s.at, p_period_type, p_old.time_zone, p_old.week_start)
        = tally.period_end(s.at, p_period_type, p_new.time_zone, p_new.week_start)
      and tally.local_date(s.at, p_old.time_zone) = tally.local_date(s.at, p_new.time_zone)));
end
$$;
alter function tally.moved_starts owner to tally_owner;
revoke all on function tally.moved_starts from public;
comment on function tally.moved_starts is
  'The beginnings of days, weeks or months with summaries that two calendars do not cut and call alike.';
