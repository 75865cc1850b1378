-- One measure of a range, and the range that it holds for where retention made it wider.
create function tally.range_total(
  p_tenant tally.tenant_context,
  p_from timestamptz,
  p_to timestamptz,
  p_types text[],
  p_measure text,
  p_filters jsonb,
  p_actor text,
  out total numeric, out resolved_from timestamptz, out resolved_to timestamptz
)
language plpgsql stable strict
set search_path = ''
as $$
declare
  v_range record := tally.check_query(p_tenant, p_from, p_to, p_measure);
begin
  if p_measure = 'count' and p_filters = '[]' and p_actor = '' then
    total := tally.event_total(p_tenant, v_range.resolved_from, v_range.resolved_to, p_types);
  else
    select t.total into total
    from tally.event_totals(
      p_tenant, array[v_range.resolved_from, v_range.resolved_to], 'month', p_types, false, p_measure,
      p_filters, p_actor) as t;
    if not found then
      total := tally.measure(p_measure, 0, 0, null, null, null, null);
    end if;
  end if;
  resolved_from := case when v_range.resolved_from <> p_from then v_range.resolved_from end;
  resolved_to := case
    when isfinite(v_range.resolved_to) and v_range.resolved_to <> p_to then v_range.resolved_to
  end;
end
$$;
alter function tally.range_total owner to tally_owner;
revoke all on function tally.range_total from public;
grant execute on function tally.range_total to tally_tenant, tally_bi;
comment on function tally.range_total is
  'One measure of the events of a half-open range, and the range that was answered where it is wider than asked.';
