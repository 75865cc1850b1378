-- The summaries that answer a range, cut into parts by tally.range_parts: quarter hours, days, months,
-- days, quarter hours. A branch a part, each a plain scan of the key, because a row costs twice as much
-- in a join with the parts. Inlined.
create function tally.summary_rows(
  p_tenant uuid, p_parts timestamptz[], p_types text[], p_all boolean
)
returns table (
  starts_at timestamptz, event_type text, event_count bigint, value_count bigint,
  value_sum numeric, value_min numeric, value_max numeric, actors public.hll, unique_actors bigint
)
language sql stable
as $$
  select
    s.period_start, s.event_type, s.event_count, s.value_count, s.value_sum, s.value_min,
    s.value_max, s.actors, case when s.final_at is not null then s.unique_actors end
  from tally.summaries as s
  where s.tenant_id = p_tenant
    and s.period_type = 'q'::"char"
    and s.kind = 'e'::"char"
    and s.period_start >= p_parts[2]
    and s.period_start < p_parts[3]
    and s.event_count > 0
    and (p_types = '{}' or s.event_type = any (p_types))
  union all
  select
    s.period_start, s.event_type, s.event_count, s.value_count, s.value_sum, s.value_min,
    s.value_max, s.actors, case when s.final_at is not null then s.unique_actors end
  from tally.summaries as s
  where s.tenant_id = p_tenant
    and s.period_type = 'd'::"char"
    and s.kind = case when p_all and p_types = '{}' then 'a' else 'e' end::"char"
    and s.period_start >= p_parts[3]
    and s.period_start < p_parts[4]
    and s.event_count > 0
    and (p_types = '{}' or s.event_type = any (p_types))
  union all
  select
    s.period_start, s.event_type, s.event_count, s.value_count, s.value_sum, s.value_min,
    s.value_max, s.actors, case when s.final_at is not null then s.unique_actors end
  from tally.summaries as s
  where s.tenant_id = p_tenant
    and s.period_type = 'm'::"char"
    and s.kind = case when p_all and p_types = '{}' then 'a' else 'e' end::"char"
    and s.period_start >= p_parts[4]
    and s.period_start < p_parts[5]
    and s.event_count > 0
    and (p_types = '{}' or s.event_type = any (p_types))
  union all
  select
    s.period_start, s.event_type, s.event_count, s.value_count, s.value_sum, s.value_min,
    s.value_max, s.actors, case when s.final_at is not null then s.unique_actors end
  from tally.summaries as s
  where s.tenant_id = p_tenant
    and s.period_type = 'd'::"char"
    and s.kind = case when p_all and p_types = '{}' then 'a' else 'e' end::"char"
    and s.period_start >= p_parts[5]
    and s.period_start < p_parts[6]
    and s.event_count > 0
    and (p_types = '{}' or s.event_type = any (p_types))
  union all
  select
    s.period_start, s.event_type, s.event_count, s.value_count, s.value_sum, s.value_min,
    s.value_max, s.actors, case when s.final_at is not null then s.unique_actors end
  from tally.summaries as s
  where s.tenant_id = p_tenant
    and s.period_type = 'q'::"char"
    and s.kind = 'e'::"char"
    and s.period_start >= p_parts[6]
    and s.period_start < p_parts[7]
    and s.event_count > 0
    and (p_types = '{}' or s.event_type = any (p_types))
$$;
alter function tally.summary_rows owner to tally_owner;
revoke all on function tally.summary_rows from public;
grant execute on function tally.summary_rows to tally_tenant, tally_bi;
comment on function tally.summary_rows is
  'The summaries of a range, of some types or of all; days and months as rows of all types with p_all and no types.';
