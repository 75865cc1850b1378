-- Remembers when keys were used last. Service processes collect uses and tell of them once a
-- minute, so that a request costs no write. Times only go forward.
create function api.key_touch(p_key_ids uuid[], p_used_at timestamptz[]) returns integer
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_count integer;
begin
  with used as (
    select u.key_id, max(u.used_at) as used_at
    from unnest(p_key_ids, p_used_at) as u (key_id, used_at)
    where u.used_at <= now() + interval '1 minute'
    group by u.key_id
  ),
  locked as (
    -- In one order everywhere, so that two processes cannot deadlock.
    select k.key_id, u.used_at
    from tally.api_keys as k
    join used as u on u.key_id = k.key_id
    where k.last_used_at is null or k.last_used_at < u.used_at
    order by k.key_id
    for no key update of k
  )
  update tally.api_keys as k
  set last_used_at = l.used_at
  from locked as l
  where k.key_id = l.key_id;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
alter function api.key_touch owner to tally_owner;
revoke all on function api.key_touch from public;
grant execute on function api.key_touch to tally_service;
comment on function api.key_touch is 'Sets last_used_at of keys, forward only; returns how many changed.';
