-- Totals of a range by bucket, and by type if asked: the one way from a range to an answer that
-- all api functions share. The whole answer is of one snapshot, that of the calling statement,
-- because this function is stable. Filters on data or actor read raw events.
create function tally.event_totals(
  p_tenant tally.tenant_context,
  p_boundaries timestamptz[],
  p_coarsest text,
  p_types text[],
  p_by_type boolean,
  p_measure text,
  p_filters jsonb default '[]',
  p_actor text default ''
)
returns table (
  bucket integer, event_type text, event_count bigint, value_count bigint,
  value_sum numeric, value_min numeric, value_max numeric, actors public.hll
)
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_id uuid := p_tenant.tenant_id;
  v_from timestamptz := p_boundaries[1];
  v_to timestamptz := p_boundaries[cardinality(p_boundaries)];
  v_with_values boolean := p_measure not in ('count', 'uniqueActors');
  v_with_actors boolean := p_measure = 'uniqueActors';
  v_slice record;
begin
  if p_filters <> '[]' or p_actor <> '' then
    if v_from < p_tenant.events_kept_from and v_from < v_to then
      raise exception using
        errcode = 'TY400', column = 'p_from',
        message = format('filters on data or actor read raw events, which are kept from %s on',
          to_json(p_tenant.events_kept_from));
    end if;
    return query
    select *
    from tally.raw_totals(
      v_id, v_from, v_to, p_boundaries, p_types, p_by_type, v_with_values, v_with_actors,
      case when p_filters <> '[]' then tally.filter_path(p_filters) end, nullif(p_actor, ''));
    return;
  end if;
  for v_slice in select * from tally.range_parts(p_tenant, v_from, v_to, p_coarsest)
  loop
    if v_slice.source = 'raw' then
      return query
      select *
      from tally.raw_totals(
        v_id, v_slice.slice_from, v_slice.slice_to, p_boundaries, p_types, p_by_type, v_with_values,
        v_with_actors);
    else
      return query
      select *
      from tally.summary_totals(
        v_id, v_slice.source, v_slice.slice_from, v_slice.slice_to,
        p_boundaries, p_types, p_by_type, v_with_values, v_with_actors);
    end if;
  end loop;
end
$$;
alter function tally.event_totals owner to tally_owner;
revoke all on function tally.event_totals from public;
grant execute on function tally.event_totals to tally_tenant, tally_bi;
comment on function tally.event_totals is
  'Totals of a range by bucket and optionally type, from the coarsest rows that fit. A bucket may come in several rows: add them.';
