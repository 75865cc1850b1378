-- The stored rows of one period: of one event type, found by the whole key, or of each where p_type is
-- NULL. Inlined into the statement that calls it.
create function tally.period_rows(
  p_tenant uuid, p_period_type text, p_period_start timestamptz, p_type text
)
returns setof tally.summaries
language sql stable
as $$
  select s.*
  from tally.summaries as s
  where p_type is not null
    and s.tenant_id = p_tenant
    and s.period_type = p_period_type::"char"
    and s.kind = 'e'::"char"
    and s.period_start = p_period_start
    and s.event_type = p_type
  union all
  select s.*
  from tally.summaries as s
  where p_type is null
    and s.tenant_id = p_tenant
    and s.period_type = p_period_type::"char"
    and s.kind = 'e'::"char"
    and s.period_start = p_period_start
$$;
alter function tally.period_rows owner to tally_owner;
revoke all on function tally.period_rows from public;
grant execute on function tally.period_rows to tally_tenant, tally_bi;
comment on function tally.period_rows is
  'The stored rows of one day, week or month, of one event type or of each.';
