-- The group of an event: its values of up to three dimensions, of which some may be absent (NULL);
-- empty where nothing is grouped. p_first to p_third are what tally.dimension takes. Inlined.
create function tally.group_key(
  p_by text[], p_event_type text, p_actor_id text, p_session_id text, p_first jsonb, p_second jsonb,
  p_third jsonb
)
returns text[]
language sql immutable parallel safe
as $$
  select case cardinality(p_by)
    when 0 then array[]::text[]
    when 1 then array[
      tally.dimension(p_by[1], p_event_type, p_actor_id, p_session_id, p_first)]
    when 2 then array[
      tally.dimension(p_by[1], p_event_type, p_actor_id, p_session_id, p_first),
      tally.dimension(p_by[2], p_event_type, p_actor_id, p_session_id, p_second)]
    else array[
      tally.dimension(p_by[1], p_event_type, p_actor_id, p_session_id, p_first),
      tally.dimension(p_by[2], p_event_type, p_actor_id, p_session_id, p_second),
      tally.dimension(p_by[3], p_event_type, p_actor_id, p_session_id, p_third)]
  end
$$;
alter function tally.group_key owner to tally_owner;
revoke all on function tally.group_key from public;
grant execute on function tally.group_key to tally_tenant;
comment on function tally.group_key is
  'The values of an event''s dimensions (tally.dimension), at most three; NULL elements where it has none.';
