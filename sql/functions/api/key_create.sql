-- Makes an API key of a tenant and returns it, this once. It works at once, and until p_expires_at.
-- p_by is the key that asks, as the service says. A key of the tenant makes none that may more than
-- itself (tally.check_key_grant): the new one expires when it does, if not earlier, has its limits
-- and counts in the same buckets, so that ten keys get no more than one. So it cannot set limits
-- either, except 0. Keys of the installation, and logins in psql, are not bounded. A key with
-- p_origins is meant to be read by everybody who opens a page (tally.check_origins).
create function api.key_create(
  p_tenant uuid,
  p_name text default 'default',
  p_scopes text[] default array['ingest', 'read', 'admin'],
  p_expires_at timestamptz default 'infinity',
  p_rate_limits_per_minute jsonb default '{}',
  p_by uuid default '00000000-0000-0000-0000-000000000000',
  p_origins text[] default '{}'
)
returns table (
  key_id uuid, key_prefix text, created_at timestamptz, api_key text, expires_at timestamptz,
  rate_limits_per_minute jsonb
)
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_asking tally.api_keys := tally.key_asking(p_tenant, p_by);
  v_limits jsonb := p_rate_limits_per_minute;
  v_expires_at timestamptz := p_expires_at;
  v_lineage uuid;
begin
  perform tally.tenant_read(p_tenant);
  perform tally.check_rate_limits(p_rate_limits_per_minute);
  if v_asking.key_id is not null then
    v_limits := v_asking.rate_limits_per_minute || p_rate_limits_per_minute;
    if p_expires_at = 'infinity' then
      v_expires_at := coalesce(v_asking.expires_at, 'infinity');
    end if;
    perform tally.check_key_grant(v_asking, p_scopes, v_limits, v_expires_at);
    if exists (
      select from jsonb_each(p_rate_limits_per_minute) as l (rate_class, wanted)
      where l.wanted <> '0' and l.wanted is distinct from v_asking.rate_limits_per_minute -> l.rate_class)
    then
      raise exception using
        errcode = 'TY403', column = 'p_rate_limits_per_minute',
        message = 'only a key of the installation sets rate limits; others pass on their own, or 0';
    end if;
    if v_asking.rate_limits_per_minute <> '{}' then
      v_lineage := coalesce(v_asking.lineage_id, v_asking.key_id);
    end if;
  end if;
  return query
  select * from tally.key_make(p_tenant, p_name, p_scopes, v_expires_at, v_limits, p_by, v_lineage, p_origins);
exception when foreign_key_violation then
  raise exception using errcode = 'TY404', message = 'no such tenant';
end
$$;
alter function api.key_create owner to tally_owner;
revoke all on function api.key_create from public;
grant execute on function api.key_create to tally_service;
comment on function api.key_create is
  'Makes an API key of a tenant and returns it; it cannot be shown again. p_by is the key that asks, which makes none that may more than itself; p_origins are the pages that a public key is for. TY404, TY410, TY403, TY400 for a bad argument.';
