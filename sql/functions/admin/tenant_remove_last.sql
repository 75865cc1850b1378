-- The end of a deletion: schemas of BI logins, keys, share links, rate buckets, names in the audit
-- log, and the tenant itself. Says false where somebody uses such a schema, or makes a key, at this moment.
create function tally.tenant_remove_last(p_tenant uuid) returns boolean
language plpgsql volatile strict
set search_path = ''
as $$
begin
  if not tally.bi_schema_drop(p_tenant, true) then
    return false;
  end if;
  -- From here on nobody makes a key: its reference to the tenant waits, and then finds none.
  perform from tally.tenants as t where t.tenant_id = p_tenant for update skip locked;
  if not found then
    return false;
  end if;
  delete from tally.rate_buckets as b
  where starts_with(b.bucket, p_tenant::text || ':')
    or split_part(b.bucket, ':', 1) in (
      select k.key_id::text from tally.api_keys as k where k.tenant_id = p_tenant);
  delete from tally.api_keys as k where k.tenant_id = p_tenant;
  delete from tally.share_links as l where l.tenant_id = p_tenant;
  update tally.audit_log as a
  set details = a.details - 'name'
  where a.tenant_id = p_tenant and a.details ? 'name';
  delete from tally.tenant_state as s where s.tenant_id = p_tenant;
  delete from tally.tenants as t where t.tenant_id = p_tenant;
  update tally.tenant_deletions as d
  set finished_at = clock_timestamp()
  where d.tenant_id = p_tenant;
  perform tally.audit(
    'tenant.deleted', p_tenant, p_tenant::text, d.key_id,
    jsonb_build_object('events', d.event_count, 'summaries', d.summary_count))
  from tally.tenant_deletions as d
  where d.tenant_id = p_tenant;
  return true;
end
$$;
alter function tally.tenant_remove_last owner to tally_owner;
revoke all on function tally.tenant_remove_last from public;
comment on function tally.tenant_remove_last is
  'Ends a deletion: removes keys, share links, rate buckets and the tenant itself, and signs the certificate; false if a schema of its BI logins cannot be removed, or a key of the tenant is being made.';
