-- How many summary rows jobs have had to heal in the runs that tally.job_runs keeps, of which nobody has
-- said that he knows (tally.healed_acknowledge). Cost: a scan of the runs of 30 days.
create function tally.healed_rows() returns bigint
language sql stable
set search_path = ''
as $$
  select coalesce(sum(r.healed_count), 0)::bigint
  from tally.job_runs as r
  where r.healed_count > 0
    and not exists (
      select from tally.audit_log as a
      where a.tenant_id is null
        and a.action = 'healed.acknowledge'
        and a.details -> 'runs' @> to_jsonb(r.job_run_id))
$$;
alter function tally.healed_rows owner to tally_owner;
revoke all on function tally.healed_rows from public;
comment on function tally.healed_rows is
  'Summary rows that differed from the raw events and were rebuilt in the last 30 days, without those that were acknowledged.';
