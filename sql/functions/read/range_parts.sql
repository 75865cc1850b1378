-- Decides what answers a range: raw events at edges shorter than a quarter hour, quarter hours at
-- edges shorter than a day, days at edges shorter than a month, months in the middle; nothing
-- coarser than p_coarsest. The range_parts are disjoint and cover the range.
create function tally.range_parts(
  p_tenant tally.tenant_context, p_from timestamptz, p_to timestamptz, p_coarsest text
)
returns table (source text, slice_from timestamptz, slice_to timestamptz)
language plpgsql immutable strict
set search_path = ''
as $$
declare
  v_sources text[] := array['raw', 'quarter_hour', 'day', 'month'];
  v_zone text := p_tenant.time_zone;
  v_from timestamptz := p_from;
  v_to timestamptz := p_to;
  v_inner_from timestamptz;
  v_inner_to timestamptz;
begin
  -- Without a query, each of which would cost more than all the rest.
  for v_level in 1 .. 4
  loop
    exit when v_from >= v_to;
    source := v_sources[v_level];
    if v_level < 4 and source <> p_coarsest then
      v_inner_from := tally.period_ceiling(v_from, v_sources[v_level + 1], v_zone, p_tenant.week_start);
      v_inner_to := tally.period_start(v_to, v_sources[v_level + 1], v_zone, p_tenant.week_start);
    end if;
    if v_level = 4 or source = p_coarsest or v_inner_from >= v_inner_to then
      slice_from := v_from;
      slice_to := v_to;
      return next;
      exit;
    end if;
    if v_from < v_inner_from then
      slice_from := v_from;
      slice_to := v_inner_from;
      return next;
    end if;
    if v_inner_to < v_to then
      slice_from := v_inner_to;
      slice_to := v_to;
      return next;
    end if;
    v_from := v_inner_from;
    v_to := v_inner_to;
  end loop;
end
$$;
alter function tally.range_parts owner to tally_owner;
revoke all on function tally.range_parts from public;
grant execute on function tally.range_parts to tally_tenant, tally_bi;
comment on function tally.range_parts is
  'The disjoint range_parts that cover a range, each with the rows that answer it: raw, quarter_hour, day or month.';
