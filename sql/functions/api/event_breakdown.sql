-- The largest groups of a range by up to three of type, actorId, sessionId and properties of data
-- (data.<path>). It adds up: groups, `missing` (events that lack one of these; an empty text or a null
-- is a value) and `other` (the groups beyond p_limit) are the total. p_of names the number for sum,
-- avg, min, max, latest and percentiles, p_unique what is counted distinct. Answers from a meter that
-- counts the same, in milliseconds; without one from raw events, 0.3 to 0.5 us an event.
create function api.event_breakdown(
  p_tenant uuid,
  p_by text[] default '{type}',
  p_from text default '-infinity',
  p_to text default 'infinity',
  p_types text[] default '{}',
  p_measure text default 'count',
  p_of text default 'value',
  p_unique text default 'actorId',
  p_filters jsonb default '[]',
  p_actor text default '',
  p_time_zone text default '',
  p_limit integer default 10
)
returns table (
  part text, group_values text[], total numeric, event_count bigint, group_count bigint,
  value_errors bigint, source text, is_exact boolean, error_bound bigint, relative_error numeric,
  resolved_from timestamptz, resolved_to timestamptz
)
language plpgsql stable strict security definer
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_set_current(p_tenant);
  v_question tally.question := tally.question(
    p_types, p_filters, p_actor, p_by, p_of, p_unique, p_measure);
  v_range record := tally.question_range(
    v_tenant, v_question, p_from, p_to, tally.query_zone(v_tenant, p_time_zone));
  v_source text;
begin
  perform tally.check_limit(p_limit);
  v_source := tally.question_source(v_tenant, v_question);
  return query
  with ranked as materialized (
    select r.*
    from tally.ranked_totals(
      v_tenant, array[v_range.range_from, v_range.range_to], 'month', v_question, p_limit) as r
  )
  select
    p.part,
    case when r.part = 'g' then tally.group_values(r.group_key, v_question.dimensions, p_by) end,
    coalesce(r.total, tally.group_measure(p_measure, 0, 0, null, null, null, null, null)),
    coalesce(r.event_count, 0),
    case when p.letter = 'o' and r.part is null then 0 else r.group_count end,
    coalesce(r.value_errors, 0), v_source,
    coalesce((select bool_and(e.is_exact) from ranked as e), true),
    coalesce((select max(e.error_bound) from ranked as e), 0),
    tally.relative_error(v_question.measure, v_source),
    v_range.resolved_from, v_range.resolved_to
  from (
    values
      (1, 'group', 'g'::"char"), (2, 'missing', 'm'), (3, 'other', 'o'), (4, 'total', 't')
  ) as p (i, part, letter)
  left join ranked as r on r.part = p.letter
  where case p.letter when 't' then true when 'g' then r.part is not null and p_by <> '{}'
    else p_by <> '{}' end
  order by p.i, r.rank;
end
$$;
alter function api.event_breakdown owner to tally_tenant;
revoke all on function api.event_breakdown from public;
grant execute on function api.event_breakdown to tally_service, tally_owner;
comment on function api.event_breakdown is
  'The largest groups of a range by type, actorId, sessionId or properties (part group), what lacks one (missing), the rest (other, with how many groups where that is known) and the total, which they add up to; what it was read from, and whether it is exact: if not, each group may have up to error_bound events more; percentiles of a meter are within relative_error of it. TY400 for bad arguments.';
