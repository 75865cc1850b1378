-- The part of fold that meters have: moves up to p_limit of their deltas, oldest first, into their
-- quarter hours, days and months. A day keeps the groups that it has, and takes in new ones, the
-- largest first, until it has max_groups; the rest is added to its `other`. What a meter that is gone
-- has left is dropped. A step ends with the delta that makes 100,000 entries: 50 meters of 1,000
-- groups have 50,000 in each batch, and what one statement takes, memory and the tenant's lock, is
-- bounded for every tenant. The caller holds the tenant's lock.
create function tally.fold_meters(p_tenant tally.tenant_context, p_limit integer) returns integer
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_id uuid := p_tenant.tenant_id;
  v_deltas integer;
  v_delta record;
  v_last bigint;
  v_entries bigint := 0;
  v_rows tally.meter_summaries[];
begin
  -- By range, as in fold_tenant. In a loop, which unpacks no delta of a later step.
  for v_delta in
    select d.delta_id, cardinality(d.entries) as entries
    from tally.meter_deltas as d
    where d.tenant_id = v_id
    order by d.delta_id
    limit p_limit
  loop
    v_last := v_delta.delta_id;
    v_entries := v_entries + v_delta.entries;
    exit when v_entries >= 100000;
  end loop;
  if v_last is null then
    return 0;
  end if;
  with taken as (
    delete from tally.meter_deltas as d
    where d.tenant_id = v_id and d.delta_id <= v_last
    returning d.meter_id, d.quarter_hour, d.entries
  )
  select
    (select count(*) from taken),
    coalesce(array_agg(row(
      v_id, e.meter_id, 'q', case when e.group_key is null then 'm' else 'g' end, e.quarter_hour,
      coalesce(e.group_key, '{}'), e.event_count, e.value_count, e.value_sum, e.value_min, e.value_max,
      e.value_errors, e.uniques, 0, 1, now(), null, e.value_histogram)::tally.meter_summaries), '{}')
  into v_deltas, v_rows
  from (
    select
      t.meter_id, t.quarter_hour, k.group_key, sum(e.event_count) as event_count,
      sum(e.value_count) as value_count, sum(e.value_sum) as value_sum, min(e.value_min) as value_min,
      max(e.value_max) as value_max, sum(e.value_errors) as value_errors,
      tally.hashes_hll(string_agg(e.unique_hashes, '')) as uniques,
      tally.histogram_compact(string_agg(e.value_histogram, '')) as value_histogram
    from taken as t
    join tally.meters as m on m.meter_id = t.meter_id
    cross join lateral unnest(t.entries) as e
    cross join lateral (
      select case when array_position(e.group_key, null) is null then e.group_key end as group_key
    ) as k
    where m.tenant_id = v_id and m.retired_at is null
    group by t.meter_id, t.quarter_hour, k.group_key
  ) as e;
  perform tally.add_meter_summaries(p_tenant, v_rows);
  return v_deltas;
end
$$;
alter function tally.fold_meters owner to tally_owner;
revoke all on function tally.fold_meters from public;
comment on function tally.fold_meters is
  'Folds up to p_limit deltas of a tenant''s meters, until 100,000 entries, under the tenant''s lock; returns how many.';
