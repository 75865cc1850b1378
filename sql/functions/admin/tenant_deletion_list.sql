-- All deletions, newest first. The name is there until the deletion is done, so that one which was
-- interrupted can be taken up by name.
create function tally.tenant_deletion_list()
returns table (
  tenant_id uuid, name text, state text, event_count bigint, summary_count bigint,
  requested_at timestamptz, finished_at timestamptz, logins_left text[]
)
language sql stable
set search_path = ''
as $$
  select
    d.tenant_id, t.name, c.state, c.event_count, c.summary_count, c.requested_at, c.finished_at,
    c.logins_left
  from tally.tenant_deletions as d
  cross join lateral tally.tenant_deletion(d.tenant_id) as c
  left join tally.tenants as t on t.tenant_id = d.tenant_id
  order by d.requested_at desc, d.tenant_id
$$;
alter function tally.tenant_deletion_list owner to tally_owner;
revoke all on function tally.tenant_deletion_list from public;
comment on function tally.tenant_deletion_list is
  'The certificates of deleted tenants, newest first; with their names while they are under way.';
