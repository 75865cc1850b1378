-- Figures of a meter are told only where it has counted all: TY404 for an unknown name, TY409 for days
-- that are not filled yet, TY400 for days that no version has seen.
create function tally.check_meter_range(
  p_tenant tally.tenant_context, p_name text, p_from timestamptz
)
returns void
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_from timestamptz;
  v_filling boolean;
begin
  select min(m.filled_from), bool_or(m.filled_at is null and m.retired_at is null)
  into v_from, v_filling
  from tally.meters as m
  where m.tenant_id = p_tenant.tenant_id and m.name = p_name and m.deleted_at is null;
  if v_from is null then
    raise exception using errcode = 'TY404', column = 'p_meter', message = 'there is no meter of this name';
  elsif p_from < v_from and v_filling then
    raise exception using
      errcode = 'TY409', column = 'p_from',
      message = format('the meter is filled from %s on, and goes on', to_json(v_from)),
      hint = 'Ask again when its state is complete, or for later days.';
  elsif p_from < v_from then
    raise exception using
      errcode = 'TY400', column = 'p_from',
      message = format('the meter knows of events from %s on', to_json(v_from));
  end if;
end
$$;
alter function tally.check_meter_range owner to tally_owner;
revoke all on function tally.check_meter_range from public;
grant execute on function tally.check_meter_range to tally_tenant;
comment on function tally.check_meter_range is
  'TY404, TY409 or TY400 unless a meter has counted everything from a moment on.';
