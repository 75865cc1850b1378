-- Takes up to p_wanted tokens, and at least p_least or none, from a bucket that refills evenly to
-- p_per_minute, and says how many it got and how long until there are enough. Service processes take small lots and spend them without
-- asking again, so that the limit holds over all of them.
create function api.rate_take(
  p_bucket text, p_per_minute bigint, p_wanted bigint, p_least bigint default 1
)
returns table (taken bigint, remaining bigint, retry_after_ms bigint)
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_rate double precision := p_per_minute / 60.0;
  v_tokens double precision;
begin
  -- The answer need not wait for the disk: a crash gives back what was taken in its last half second.
  set local synchronous_commit = off;
  insert into tally.rate_buckets as b (bucket, tokens, updated_at)
  values (p_bucket, p_per_minute, clock_timestamp())
  on conflict (bucket) do nothing;
  select least(
    p_per_minute,
    b.tokens + v_rate * greatest(0, extract(epoch from clock_timestamp() - b.updated_at)))
  into v_tokens
  from tally.rate_buckets as b
  where b.bucket = p_bucket
  for update;
  taken := case when floor(v_tokens) >= p_least then least(p_wanted, floor(v_tokens)) else 0 end;
  v_tokens := v_tokens - taken;
  update tally.rate_buckets
  set tokens = v_tokens, updated_at = clock_timestamp()
  where bucket = p_bucket;
  remaining := floor(v_tokens);
  retry_after_ms := case when taken > 0 then 0 else ceil((p_least - v_tokens) / v_rate * 1000) end;
  return next;
end
$$;
alter function api.rate_take owner to tally_owner;
revoke all on function api.rate_take from public;
grant execute on function api.rate_take to tally_service;
comment on function api.rate_take is
  'Takes up to p_wanted tokens, and at least p_least or none, of a bucket that holds and refills p_per_minute; returns how many, how many are left, and milliseconds until there are enough if none.';
