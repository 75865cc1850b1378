-- Totals of a range by bucket and group: the one way from a question about properties to an answer.
-- What a meter covers is read from it, days and months in the middle, for a total quarter hours too;
-- the rest from raw events, and so are the days that p_raw_days names. Questions that summaries
-- answer are answered by them. The whole answer is of one snapshot, because this function is stable.
create function tally.group_totals(
  p_tenant tally.tenant_context,
  p_boundaries timestamptz[],
  p_coarsest text,
  p_question tally.question,
  p_raw_days timestamptz[] default '{}',
  p_pick text default '',
  p_kept text[] default null
)
returns table (
  bucket integer, part "char", group_key text[], event_count bigint, value_count bigint,
  value_sum numeric, value_min numeric, value_max numeric, value_errors bigint, uniques public.hll,
  picked numeric, largest_group bigint, value_histogram bytea
)
language plpgsql stable
set search_path = ''
as $$
declare
  v_id uuid := p_tenant.tenant_id;
  v_from timestamptz := p_boundaries[1];
  v_to timestamptz := p_boundaries[cardinality(p_boundaries)];
  v_grouped boolean := p_question.dimensions <> '{}';
  v_with_actors boolean := p_question.measure = 'uniqueActors';
  v_parts timestamptz[];
  v_filter jsonpath := case
    when p_question.filters <> '[]' then tally.filter_path(p_question.filters) end;
  v_meter tally.meters;
  v_part record;
begin
  if tally.is_plain(p_question) then
    v_parts := tally.range_parts(p_tenant, v_from, v_to, p_coarsest);
    return query
    select
      width_bucket(r.starts_at, (select p_boundaries)), 'g'::"char",
      case when v_grouped then array[r.event_type] else '{}' end,
      r.event_count, r.value_count, r.value_sum, r.value_min, r.value_max, 0::bigint,
      case when v_with_actors then r.actors end, null::numeric, 0::bigint,
      null::bytea
    from tally.range_rows(v_id, v_parts, p_question.event_types, not v_grouped, v_with_actors) as r;
    return;
  end if;
  -- What is picked needs the events, also where a meter has the total and not the groups.
  if p_pick = '' then
    v_meter := tally.meter_find(p_tenant, p_question);
  end if;
  for v_part in
    select * from tally.meter_parts(p_tenant, v_meter, v_from, v_to, p_coarsest, v_grouped, p_raw_days)
  loop
    if v_part.source <> 'raw' then
      return query
      select *
      from tally.meter_totals(
        v_id, v_meter.meter_id, v_part.source, v_part.slice_from, v_part.slice_to, p_boundaries,
        v_grouped, p_question.measure);
    elsif v_part.slice_from < p_tenant.events_kept_from then
      raise exception using
        errcode = 'TY400', column = 'p_from',
        message = format('questions about properties that no meter covers read raw events, which are kept from %s on',
          to_json(p_tenant.events_kept_from));
    else
      return query
      select *
      from tally.raw_groups(
        v_id, v_part.slice_from, v_part.slice_to, p_boundaries, p_question, v_filter, p_pick, p_kept);
    end if;
  end loop;
end
$$;
alter function tally.group_totals owner to tally_owner;
revoke all on function tally.group_totals from public;
grant execute on function tally.group_totals to tally_tenant;
comment on function tally.group_totals is
  'Totals of a range by bucket and group, from summaries, a meter or raw events. A bucket and part may come in several rows: add them. TY400 where raw events are needed that are gone.';
