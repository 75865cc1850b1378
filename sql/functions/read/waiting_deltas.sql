-- The deltas that wait within a range, cut into parts by tally.range_parts. Inlined.
create function tally.waiting_deltas(p_tenant uuid, p_parts timestamptz[], p_types text[])
returns setof tally.summary_deltas
language sql stable
as $$
  select d.*
  from tally.summary_deltas as d
  where d.tenant_id = p_tenant
    and d.quarter_hour >= p_parts[2]
    and d.quarter_hour < p_parts[7]
    and (p_types = '{}' or d.event_type = any (p_types))
$$;
alter function tally.waiting_deltas owner to tally_owner;
revoke all on function tally.waiting_deltas from public;
grant execute on function tally.waiting_deltas to tally_tenant, tally_bi;
comment on function tally.waiting_deltas is 'The deltas of a range that are not yet folded, of some types or of all.';
