-- The same for measures that cannot be added up (latest, and percentiles that no meter has): first the largest groups of
-- the range, then each of them, all others together, what lacks a dimension, and everything. Cost:
-- three scans of the raw events.
create function tally.picked_totals(
  p_tenant tally.tenant_context,
  p_boundaries timestamptz[],
  p_question tally.question,
  p_limit integer,
  p_pick text
)
returns setof tally.ranked_total
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_range timestamptz[] := array[p_boundaries[1], p_boundaries[cardinality(p_boundaries)]];
  v_whole tally.question := p_question;
  v_kept text[];
  v_groups bigint;
begin
  select
    coalesce(array_agg(g.group_key::text order by g.rank) filter (where g.rank <= p_limit), '{}'),
    count(*)
  into v_kept, v_groups
  from (
    select t.group_key, row_number() over (order by t.picked desc nulls last, t.group_key) as rank
    from tally.group_totals(p_tenant, v_range, 'month', p_question, '{}', p_pick) as t
    where t.part = 'g'
  ) as g;
  v_whole.dimensions := '{}';
  return query
  select
    t.bucket, t.part, array_position(v_kept, t.group_key::text)::bigint, t.group_key, t.picked,
    t.event_count, t.value_errors, case when t.part = 'o' then v_groups - cardinality(v_kept) end,
    true, 0::bigint
  from tally.group_totals(p_tenant, p_boundaries, 'month', p_question, '{}', p_pick, v_kept) as t
  where p_question.dimensions <> '{}'
  union all
  select t.bucket, 't'::"char", null, null, t.picked, t.event_count, t.value_errors, null, true, 0
  from tally.group_totals(p_tenant, p_boundaries, 'month', v_whole, '{}', p_pick) as t;
end
$$;
alter function tally.picked_totals owner to tally_owner;
revoke all on function tally.picked_totals from public;
grant execute on function tally.picked_totals to tally_tenant;
comment on function tally.picked_totals is
  'tally.ranked_totals for measures that only raw events have.';
