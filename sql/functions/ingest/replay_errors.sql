-- What is wrong with a rejected event by today's rules, time bounds included. One that came through
-- the door of another client may have 1 MB of data, as it may there; the door has bounded it.
create function tally.replay_errors(
  p_tenant tally.tenant_context, p_event text, p_rejected_at timestamptz, p_source text
)
returns jsonb
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_errors jsonb;
begin
  select coalesce(jsonb_agg(e - 'index'), '[]') into v_errors
  from tally.event_errors(
    p_event::json, 0, case p_source when 'bulk' then 65536 else 1048576 end) as e;
  if v_errors = '[]' then
    select coalesce(jsonb_agg(jsonb_build_object('pointer', '/occurredAt', 'detail', t.error)), '[]')
    into v_errors
    from tally.event_columns(p_event::json, p_rejected_at) as c
    cross join lateral tally.time_error(c.occurred_at, tally.earliest_time(p_tenant)) as t (error)
    where t.error is not null;
  end if;
  return v_errors;
exception when data_exception or program_limit_exceeded or statement_too_complex then
  return jsonb '[{"pointer": "", "detail": "is not JSON that can be stored"}]';
end
$$;
alter function tally.replay_errors owner to tally_owner;
revoke all on function tally.replay_errors from public;
grant execute on function tally.replay_errors to tally_tenant;
comment on function tally.replay_errors is
  'The errors [{"pointer", "detail"}] of a rejected event by today''s rules; an empty array if it is good.';
