-- Cheaper parts for a figure that can be subtracted: where a range cut into parts by tally.range_parts
-- holds more than half of its first or last day, that day is taken whole, and the quarter hours that
-- are too many, from excess_from to excess_to, are to be taken away. A range that ends now has none.
create function tally.range_complement(
  p_tenant tally.tenant_context, p_parts timestamptz[],
  out parts timestamptz[], out excess_from timestamptz[], out excess_to timestamptz[]
)
language plpgsql immutable strict
set search_path = ''
as $$
declare
  v_at timestamptz;
begin
  parts := p_parts;
  excess_from := array[]::timestamptz[];
  excess_to := array[]::timestamptz[];
  -- Without a whole day between them the edges may lie in one.
  if p_parts[3] >= p_parts[6] then
    return;
  end if;
  if p_parts[2] < p_parts[3] then
    v_at := tally.period_start(p_parts[2], 'day', p_tenant.time_zone, p_tenant.week_start);
    if p_parts[2] - v_at < p_parts[3] - p_parts[2] and v_at >= p_tenant.quarter_hours_kept_from then
      parts[3] := v_at;
      excess_from := excess_from || v_at;
      excess_to := excess_to || p_parts[2];
    end if;
  end if;
  if p_parts[6] < p_parts[7] then
    v_at := tally.period_end(p_parts[6], 'day', p_tenant.time_zone, p_tenant.week_start);
    if v_at - p_parts[7] < p_parts[7] - p_parts[6] then
      parts[6] := v_at;
      excess_from := excess_from || p_parts[7];
      excess_to := excess_to || v_at;
    end if;
  end if;
end
$$;
alter function tally.range_complement owner to tally_owner;
revoke all on function tally.range_complement from public;
grant execute on function tally.range_complement to tally_tenant;
comment on function tally.range_complement is
  'The parts of a range with first and last day taken whole where that reads less, and the quarter hours to be taken away again.';
