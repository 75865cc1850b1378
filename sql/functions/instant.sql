-- Reads an end of a range as people write it: an RFC 3339 time, or a date, which means local
-- midnight, or -infinity and infinity.
create function api.instant(p_tenant uuid, p_text text, p_time_zone text default '', p_name text default 'from')
returns timestamptz
language plpgsql stable strict security definer
set search_path = ''
as $$
declare
  v_zone text := tally.check_time_zone(nullif(p_time_zone, ''));
  v_at timestamptz;
begin
  if p_text in ('-infinity', 'infinity') then
    return p_text::timestamptz;
  elsif p_text ~ '^\d{4}-\d\d-\d\d$' then
    v_at := tally.day_start(p_text::date, coalesce(v_zone, (tally.act_for(p_tenant)).time_zone));
  elsif tally.is_instant(p_text) then
    v_at := p_text::timestamptz;
  end if;
  if v_at is null or v_at not between '1900-01-01' and '2200-01-01' then
    raise exception using errcode = '22007';
  end if;
  return v_at;
exception when invalid_datetime_format or datetime_field_overflow then
  raise exception using
    errcode = 'TY400', column = p_name,
    message = format('%s is no time from 1900 to 2199', to_json(left(p_text, 64))),
    hint = 'Use 2026-01-31, or 2026-01-31T12:00:00Z with an offset.';
end
$$;
alter function api.instant owner to tally_tenant;
revoke all on function api.instant from public;
grant execute on function api.instant to tally_service, tally_owner;
comment on function api.instant is
  'The instant of an RFC 3339 time, of the local midnight of a date in p_time_zone (by default the tenant''s), or of infinity; TY400 otherwise.';
