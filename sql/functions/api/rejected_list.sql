-- Events that lenient requests and clients of the other doors sent and that could not be stored,
-- newest first, one page: those with a smaller id than p_before. A page ends at p_limit rows or
-- p_max_bytes of events, whichever comes first; its last row then says that it is full.
create function api.rejected_list(
  p_tenant uuid,
  p_before bigint default 9223372036854775807,
  p_limit integer default 100,
  p_max_bytes integer default 8000000
)
returns table (
  rejected_id bigint, rejected_at timestamptz, source text, errors jsonb, event text,
  replayable boolean, is_full boolean
)
language plpgsql stable strict security definer
set search_path = ''
as $$
declare
  v_rows integer := 0;
  v_bytes bigint := 0;
begin
  perform tally.tenant_set_current(p_tenant);
  perform tally.check_limit(p_limit);
  for rejected_id, rejected_at, source, errors, event, replayable in
    select r.rejected_id, r.rejected_at, r.source, r.errors, r.event, r.replayable
    from tally.rejected_events as r
    where r.tenant_id = p_tenant and r.rejected_id < p_before
    order by r.rejected_id desc
    limit p_limit
  loop
    v_rows := v_rows + 1;
    v_bytes := v_bytes + octet_length(event) + octet_length(errors::text);
    is_full := v_rows = p_limit or v_bytes >= p_max_bytes;
    return next;
    exit when is_full;
  end loop;
end
$$;
alter function api.rejected_list owner to tally_tenant;
revoke all on function api.rejected_list from public;
grant execute on function api.rejected_list to tally_service, tally_owner;
comment on function api.rejected_list is
  'A page of rejected events before a given id, newest first: up to p_limit, or p_max_bytes; is_full tells that another page may follow. TY400 for a bad limit.';
