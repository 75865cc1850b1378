create function tally.time_error(p_at timestamptz, p_earliest timestamptz) returns text
language sql stable strict
set search_path = ''
as $$
  select case
    when p_at > now() + interval '1 hour'
      then format('%s is more than an hour in the future', to_json(p_at))
    when p_at < p_earliest
      then format('%s is before %s, the earliest time that this tenant keeps', to_json(p_at), to_json(p_earliest))
  end
$$;
alter function tally.time_error owner to tally_owner;
revoke all on function tally.time_error from public;
grant execute on function tally.time_error to tally_tenant;
comment on function tally.time_error is 'What is wrong with the time of an event; NULL if nothing is.';
