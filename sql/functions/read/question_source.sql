create function tally.question_source(p_tenant tally.tenant_context, p_question tally.question)
returns text
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_meter tally.meters;
begin
  if tally.is_plain(p_question) then
    return 'summaries';
  end if;
  v_meter := tally.meter_find(p_tenant, p_question);
  return case when v_meter.meter_id is null then 'events' else 'meter ' || v_meter.name end;
end
$$;
alter function tally.question_source owner to tally_owner;
revoke all on function tally.question_source from public;
grant execute on function tally.question_source to tally_tenant;
comment on function tally.question_source is
  'What answers a question: summaries, a meter (with raw events where it is not filled) or events.';
