-- Decides what answers a range: raw events at edges shorter than a quarter hour, quarter hours at
-- edges shorter than a day, days at edges shorter than a month, months in the middle; nothing
-- coarser than p_coarsest. The answer is 8 instants: between each two lies a part, which may be empty,
-- answered by raw events, quarter hours, days, months, days, quarter hours, raw events (tally.range_rows).
-- An array, and few expressions: a function that returns rows takes a query, and each expression is
-- prepared anew in each transaction, which cost more than the arithmetic.
create function tally.range_parts(
  p_tenant tally.tenant_context, p_from timestamptz, p_to timestamptz, p_coarsest text
)
returns timestamptz[]
language plpgsql immutable strict
set search_path = ''
as $$
declare
  v_zone text := p_tenant.time_zone;
  -- From where until where the range holds whole quarter hours, days and months.
  v_froms timestamptz[] := array[p_from, p_from, p_from];
  v_tos timestamptz[] := array[p_to, p_to, p_to];
  v_at timestamptz;
  v_on date;
begin
  if isfinite(p_from) then
    v_at := date_bin('15 minutes', p_from + interval '899.999999 seconds', timestamptz 'epoch');
    -- The first day that begins then or later.
    v_on := tally.local_date(v_at - interval '1 microsecond', v_zone) + 1;
    v_froms := array[
      v_at, tally.day_start(v_on, v_zone),
      tally.day_start((date_trunc('month', (v_on - 1)::timestamp) + interval '1 month')::date, v_zone)];
  end if;
  if isfinite(p_to) then
    v_at := date_bin('15 minutes', p_to, timestamptz 'epoch');
    v_on := tally.local_date(v_at, v_zone);
    v_tos := array[
      v_at, tally.day_start(v_on, v_zone),
      tally.day_start(date_trunc('month', v_on::timestamp)::date, v_zone)];
  end if;
  if v_froms[1] >= v_tos[1] then
    return array[p_from, p_to, p_to, p_to, p_to, p_to, p_to, p_to];
  elsif p_coarsest = 'quarter_hour' or v_froms[2] >= v_tos[2] then
    return array[
      p_from, v_froms[1], v_tos[1], v_tos[1], v_tos[1], v_tos[1], v_tos[1], p_to];
  elsif p_coarsest = 'day' or v_froms[3] >= v_tos[3] then
    return array[
      p_from, v_froms[1], v_froms[2], v_tos[2], v_tos[2], v_tos[2], v_tos[1], p_to];
  end if;
  return array[
    p_from, v_froms[1], v_froms[2], v_froms[3], v_tos[3], v_tos[2], v_tos[1], p_to];
end
$$;
alter function tally.range_parts owner to tally_owner;
revoke all on function tally.range_parts from public;
grant execute on function tally.range_parts to tally_tenant, tally_bi;
comment on function tally.range_parts is
  'The 8 instants between which lie the parts of a range that raw events, quarter hours, days, months, days, quarter hours and raw events answer.';
