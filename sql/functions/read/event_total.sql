-- How many events of some types, or of all, lie in a range: what tally.event_totals would answer, in
-- half of its time.
create function tally.event_total(
  p_tenant tally.tenant_context, p_from timestamptz, p_to timestamptz, p_types text[]
)
returns bigint
language plpgsql stable strict
set search_path = ''
-- As in tally.event_totals.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_id uuid := p_tenant.tenant_id;
  v_edges timestamptz[] := tally.range_parts(p_tenant, p_from, p_to, 'month');
  v_parts timestamptz[] := v_edges;
  v_excess_from timestamptz[] := array[]::timestamptz[];
  v_excess_to timestamptz[];
  v_total bigint;
begin
  if v_edges[2] < v_edges[3] or v_edges[6] < v_edges[7] then
    select c.parts, c.excess_from, c.excess_to into v_parts, v_excess_from, v_excess_to
    from tally.range_complement(p_tenant, v_edges) as c;
  end if;
  if cardinality(p_types) between 1 and 4 then
    select sum(r.event_count) into v_total
    from (
      select s.event_count from tally.summary_rows_of(v_id, v_parts, p_types) as s
      union all
      select d.event_count from tally.waiting_deltas(v_id, v_edges, p_types) as d
    ) as r;
  else
    select sum(r.event_count) into v_total
    from (
      select s.event_count from tally.summary_rows(v_id, v_parts, p_types, true) as s
      union all
      select d.event_count from tally.waiting_deltas(v_id, v_edges, p_types) as d
    ) as r;
  end if;
  v_total := coalesce(v_total, 0);
  if v_excess_from <> '{}' then
    v_total := v_total - coalesce((
      select sum(s.event_count)
      from unnest(v_excess_from, v_excess_to) as x (excess_from, excess_to)
      cross join lateral (
        select q.event_count, q.event_type
        from tally.summaries as q
        where q.tenant_id = v_id
          and q.period_type = 'q'::"char"
          and q.kind = 'e'::"char"
          and q.period_start >= x.excess_from
          and q.period_start < x.excess_to
        offset 0
      ) as s
      where p_types = '{}' or s.event_type = any (p_types)), 0);
  end if;
  if v_edges[1] < v_edges[2] or v_edges[7] < v_edges[8] then
    v_total := v_total + coalesce((
      select sum(e.event_count) from tally.edge_totals(v_id, v_edges, p_types, false) as e), 0);
  end if;
  return v_total;
end
$$;
alter function tally.event_total owner to tally_owner;
revoke all on function tally.event_total from public;
grant execute on function tally.event_total to tally_tenant;
comment on function tally.event_total is 'The number of events of some types, or of all, in a range.';
