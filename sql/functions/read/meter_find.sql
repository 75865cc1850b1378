-- The meter that answers a question: of the same types and filters, by the same dimensions or for a
-- question about the total, of the same number and distinct things where the measure needs them, with percentiles for these; of
-- several the one that is filled furthest back.
create function tally.meter_find(p_tenant tally.tenant_context, p_question tally.question)
returns tally.meters
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_meter tally.meters;
begin
  if p_tenant.meter_count > 0 and p_question.actor_id = '' then
    select m.* into v_meter
    from tally.meters as m
    where m.tenant_id = p_tenant.tenant_id
      and m.retired_at is null
      and m.filled_from < 'infinity'
      and m.event_types = p_question.event_types
      and m.filters = p_question.filters
      and p_question.dimensions in ('{}', m.dimensions)
      and (p_question.measure not in ('sum', 'avg', 'min', 'max') or m.value_of = p_question.value_of)
      and (p_question.measure not in ('unique', 'uniqueActors') or m.unique_of = p_question.unique_of)
      and (p_question.measure not in ('p50', 'p90', 'p99')
        or m.percentiles and m.value_of = p_question.value_of)
      and p_question.measure <> 'latest'
    order by m.filled_from, m.meter_id
    limit 1;
  end if;
  return v_meter;
end
$$;
alter function tally.meter_find owner to tally_owner;
revoke all on function tally.meter_find from public;
grant execute on function tally.meter_find to tally_tenant;
comment on function tally.meter_find is 'The meter that answers a question; NULL if none does.';
