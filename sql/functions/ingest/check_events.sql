-- The bounds that a batch must keep and that no type or table constraint can name by index. The
-- aggregate over all times is cheap; the list of offenders is made only if there is one. Always true,
-- since a condition is evaluated without a query; and like all that begins an ingest without a
-- search_path of its own, which each call would set and reset: its callers have the empty one.
create function tally.check_events(
  p_tenant tally.tenant_context,
  p_occurred_at timestamptz[],
  p_event_id uuid[],
  p_event_type text[],
  p_value numeric[],
  p_actor_id text[],
  p_session_id text[],
  p_data jsonb[]
)
returns boolean
language plpgsql stable
as $$
declare
  v_count integer := cardinality(p_occurred_at);
  v_earliest timestamptz := tally.earliest_time(p_tenant);
begin
  if v_count not between 1 and 10000 then
    raise exception using
      errcode = 'TY400', message = format('a batch has 1 to 10,000 events, not %s', v_count);
  elsif not v_count = all (array[
    cardinality(p_event_id), cardinality(p_event_type), cardinality(p_value),
    cardinality(p_actor_id), cardinality(p_session_id), cardinality(p_data)])
  then
    raise exception using errcode = 'TY400', message = 'the arrays differ in length';
  end if;
  -- No query, which for a lone event costs a tenth of all.
  if v_earliest > any (p_occurred_at) or now() + interval '1 hour' < any (p_occurred_at) then
    perform tally.raise_invalid(jsonb_agg(jsonb_build_object(
      'index', i - 1,
      'pointer', '/occurredAt',
      'detail', t.error) order by i))
    from unnest(p_occurred_at) with ordinality as events (at, i)
    cross join lateral tally.time_error(at, v_earliest) as t (error)
    where t.error is not null;
  end if;
  return true;
end
$$;
alter function tally.check_events owner to tally_owner;
revoke all on function tally.check_events from public;
grant execute on function tally.check_events to tally_tenant;
comment on function tally.check_events is
  'Raises TY400 unless the arrays are of one length, 1 to 10,000, and every time lies between the tenant''s retention and an hour ahead.';
