-- Which figures that were final have moved since? For invoicing: ask with the last updated_at that
-- you have seen, and get every later change once or more, never none, since updated_at is in commit
-- order for each tenant. A corrected figure comes when it has moved and again, with final, when it
-- has been finalized; one that has lost all its events comes with 0. Cost: an index probe and a row
-- a change. Rows with the same updated_at are never split over two answers.
create function api.summary_changes(
  p_tenant uuid, p_since text default '-infinity', p_limit integer default 1000
)
returns table (
  event_type text, period_type text, period_on date, period_start timestamptz, event_count bigint,
  value_sum numeric, unique_actors bigint, final boolean, revision integer, updated_at timestamptz
)
language plpgsql stable strict security definer
set search_path = ''
as $$
declare
  v_tenant tally.tenant_context := tally.tenant_set_current(p_tenant);
  v_since timestamptz := tally.range_end(p_since, v_tenant.time_zone, 'p_since');
begin
  perform tally.check_limit(p_limit);
  return query
  select
    s.event_type, tally.period_type_name(s.period_type), tally.local_date(s.period_start, v_tenant.time_zone),
    s.period_start, s.event_count, s.value_sum,
    coalesce(round(public.hll_cardinality(s.actors)), 0)::bigint, s.final_at is not null,
    s.revision, s.updated_at
  from tally.summaries as s
  where s.tenant_id = p_tenant
    and s.updated_at > v_since
    and s.revision > 1
    and s.period_type <> 'q'
    and s.kind = 'event_type'::"char"
  order by s.updated_at
  fetch first p_limit rows with ties;
end
$$;
alter function api.summary_changes owner to tally_tenant;
revoke all on function api.summary_changes from public;
grant execute on function api.summary_changes to tally_service, tally_owner;
comment on function api.summary_changes is
  'The days, weeks and months whose final figures have changed, or become final again, since a moment, oldest change first. Ask next with the last updated_at.';
