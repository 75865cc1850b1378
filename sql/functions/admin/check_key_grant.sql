-- A key hands out no key that may more than itself: no scope that it lacks, no limit above its own
-- where it has one, no life beyond its own.
create function tally.check_key_grant(
  p_asking tally.api_keys,
  p_scopes text[],
  p_rate_limits_per_minute jsonb,
  p_expires_at timestamptz
)
returns void
language plpgsql stable
set search_path = ''
as $$
declare
  v_scope text;
  v_limit record;
begin
  select s.scope into v_scope
  from unnest(p_scopes) as s (scope)
  where s.scope <> all (p_asking.scopes)
  limit 1;
  if found then
    raise exception using
      errcode = 'TY403', column = 'p_scopes',
      message = format('this key lacks the scope %s, so it hands out no key that has it', v_scope);
  end if;
  select o.rate_class, o.own into v_limit
  from jsonb_each(p_asking.rate_limits_per_minute) as o (rate_class, own)
  where (p_rate_limits_per_minute -> o.rate_class <= o.own) is not true
  order by o.rate_class
  limit 1;
  if found then
    raise exception using
      errcode = 'TY403', column = 'p_rate_limits_per_minute',
      message = format(
        'this key is limited to %s %s requests a minute, so it hands out no key that may more',
        v_limit.own, v_limit.rate_class);
  elsif coalesce(p_asking.expires_at, 'infinity') < coalesce(p_expires_at, 'infinity') then
    raise exception using
      errcode = 'TY403', column = 'p_expires_at',
      message = format(
        'this key expires at %s, so it hands out no key that lives longer',
        to_char(p_asking.expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
  end if;
end
$$;
alter function tally.check_key_grant owner to tally_owner;
revoke all on function tally.check_key_grant from public;
comment on function tally.check_key_grant is
  'Raises TY403, naming the scope or limit, if a key with these would be one that may more than the key that asks.';
