-- Events that lenient requests and Segment clients sent and that could not be stored, newest first,
-- one page: those with a smaller id than p_before.
create function api.rejected_list(
  p_tenant uuid, p_before bigint default 9223372036854775807, p_limit integer default 100
)
returns table (
  rejected_id bigint, rejected_at timestamptz, source text, errors jsonb, event text,
  replayable boolean
)
language plpgsql stable strict security definer
set search_path = ''
as $$
begin
  perform tally.tenant_set_current(p_tenant);
  if p_limit not between 1 and 10000 then
    raise exception using errcode = 'TY400', column = 'p_limit', message = 'limit is 1 to 10,000';
  end if;
  return query
  select r.rejected_id, r.rejected_at, r.source, r.errors, r.event, r.replayable
  from tally.rejected_events as r
  where r.tenant_id = p_tenant and r.rejected_id < p_before
  order by r.rejected_id desc
  limit p_limit;
end
$$;
alter function api.rejected_list owner to tally_tenant;
revoke all on function api.rejected_list from public;
grant execute on function api.rejected_list to tally_service, tally_owner;
comment on function api.rejected_list is
  'Up to p_limit rejected events before an id, newest first, with what was wrong with each.';
