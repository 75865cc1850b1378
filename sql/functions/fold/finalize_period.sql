-- Checks one ended period of a tenant against the raw events and marks its rows final. What differs
-- is rebuilt first. Where retention has removed the raw events there is nothing to compare with and
-- the rows stand. The caller holds the tenant's lock. final_at is the clock after the comparison, so
-- no event that is counted was received later; a corrected row takes it as updated_at too, so that
-- api.summary_changes tells that it is final again.
create function tally.finalize_period(
  p_tenant tally.tenant_context, p_period_type text, p_start timestamptz, p_end timestamptz
)
returns integer
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_checked_at timestamptz;
  v_healed integer := 0;
begin
  if p_start >= p_tenant.events_kept_from and exists (
    select
    from tally.period_differences(p_tenant.tenant_id, p_period_type, array[p_start, p_end]))
  then
    v_healed := tally.rebuild_range(p_tenant.tenant_id, p_start, p_end);
    raise warning 'tenant %: % summary rows of the % from % differed from the raw events and were rebuilt',
      p_tenant.tenant_id, v_healed, p_period_type, p_start;
  end if;
  v_checked_at := clock_timestamp();
  if p_period_type = 'day' and p_start >= p_tenant.events_kept_from then
    v_healed := v_healed + tally.recount_meters(p_tenant, p_start, p_end, true);
  end if;
  update tally.summaries as s
  set
    final_at = v_checked_at,
    unique_actors = coalesce(round(public.hll_cardinality(s.actors)), 0),
    updated_at = case when s.revision > 1 then v_checked_at else s.updated_at end
  where s.tenant_id = p_tenant.tenant_id
    and s.period_type = p_period_type::"char"
    and s.kind in ('e', 'a')
    and s.period_start = p_start
    and s.final_at is null;
  return v_healed;
end
$$;
alter function tally.finalize_period owner to tally_owner;
revoke all on function tally.finalize_period from public;
comment on function tally.finalize_period is
  'Checks one ended period against the raw events, heals what differs, marks it final; returns how many rows were healed.';
