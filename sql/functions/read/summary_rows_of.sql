-- The same of up to four named types: each is looked for in the index. `offset 0` keeps one scan of the
-- key a part and type, so that no plan reads all rows to join them with the parts. Inlined.
create function tally.summary_rows_of(p_tenant uuid, p_parts timestamptz[], p_types text[])
returns table (
  starts_at timestamptz, event_type text, event_count bigint, value_count bigint,
  value_sum numeric, value_min numeric, value_max numeric, actors public.hll, unique_actors bigint
)
language sql stable
as $$
  select
    r.period_start, r.event_type, r.event_count, r.value_count, r.value_sum, r.value_min,
    r.value_max, r.actors, case when r.final_at is not null then r.unique_actors end
  from unnest('{q,d,m,d,q}'::"char"[], p_parts[2:6], p_parts[3:7]) as p (source, part_from, part_to)
  cross join (select distinct n.event_type from unnest(p_types) as n (event_type)) as t
  cross join lateral (
    select s.*
    from tally.summaries as s
    where s.tenant_id = p_tenant
      and s.period_type = p.source
      and s.kind = 'e'::"char"
      and s.period_start >= p.part_from
      and s.period_start < p.part_to
      and s.event_type = t.event_type
      and s.event_count > 0
    offset 0
  ) as r
  where p.part_from < p.part_to
$$;
alter function tally.summary_rows_of owner to tally_owner;
revoke all on function tally.summary_rows_of from public;
grant execute on function tally.summary_rows_of to tally_tenant, tally_bi;
comment on function tally.summary_rows_of is
  'The summaries of a range, of few types.';
