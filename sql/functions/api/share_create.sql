-- Makes a share link and returns its token, this once: whoever has it sees the view p_view, and
-- nothing else, until p_expires_at, at most 366 days from now, or until it is revoked. p_by is the
-- key that asks, as the service says; where it expires, so does the link. A tenant has up to 1,000
-- links that work; those that ended 90 days ago are forgotten. What a view means, the service knows.
create function api.share_create(
  p_tenant uuid,
  p_name text,
  p_view jsonb,
  p_expires_at timestamptz,
  p_by uuid default '00000000-0000-0000-0000-000000000000'
)
returns table (share_id uuid, created_at timestamptz, expires_at timestamptz, token text)
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_asking tally.api_keys := tally.key_asking(p_tenant, p_by);
  v_prefix text := 'pgs_' || left(replace(gen_random_uuid()::text, '-', ''), 12);
  v_token text := v_prefix || '_' || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
  v_made tally.share_links;
begin
  perform tally.tenant_read(p_tenant);
  if length(p_name) between 1 and 200 is not true then
    raise exception using errcode = 'TY400', column = 'p_name', message = 'a name has 1 to 200 characters';
  elsif jsonb_typeof(p_view) <> 'object' or octet_length(p_view::text) > 8192 then
    raise exception using
      errcode = 'TY400', column = 'p_view', message = 'a view is an object of up to 8,192 bytes';
  elsif (p_expires_at > now() and p_expires_at <= now() + interval '366 days') is not true then
    raise exception using
      errcode = 'TY400', column = 'p_expires_at', message = 'a link expires within 366 days from now';
  elsif p_expires_at > v_asking.expires_at then
    raise exception using
      errcode = 'TY403', column = 'p_expires_at',
      message = format(
        'this key expires at %s, so it makes no link that lives longer',
        to_char(v_asking.expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
  elsif (
    select count(*)
    from tally.share_links as s
    where s.tenant_id = p_tenant and s.revoked_at is null and s.expires_at > now()) >= 1000
  then
    raise exception using
      errcode = 'TY409', message = 'the tenant has 1,000 share links that work',
      hint = 'Revoke some.';
  end if;
  delete from tally.share_links as s
  where s.tenant_id = p_tenant
    and least(s.revoked_at, s.expires_at) < now() - interval '90 days';
  v_token := v_token || left(encode(sha256(v_token::bytea), 'hex'), 6);
  insert into tally.share_links (tenant_id, name, token_prefix, token_hash, view, expires_at)
  values (p_tenant, p_name, v_prefix, sha256(v_token::bytea), p_view, p_expires_at)
  returning * into v_made;
  perform tally.audit(
    'share.create', p_tenant, v_made.share_id::text, p_by,
    jsonb_build_object('name', p_name, 'expires_at', v_made.expires_at));
  return query select v_made.share_id, v_made.created_at, v_made.expires_at, v_token;
exception when foreign_key_violation then
  raise exception using errcode = 'TY404', message = 'no such tenant';
end
$$;
alter function api.share_create owner to tally_owner;
revoke all on function api.share_create from public;
grant execute on function api.share_create to tally_service;
comment on function api.share_create is
  'Makes a share link, which shows one view until it expires, and returns its token; it cannot be shown again. p_by is the key that asks, which makes none that outlives it. TY404, TY410, TY403, TY409 for one too many, TY400 for a bad argument.';
