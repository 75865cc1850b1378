-- Where a lock has to be taken before the snapshot that it protects, one snapshot for the whole
-- transaction will not do: it would see the tenant as it was before the lock.
create function tally.check_read_committed() returns void
language plpgsql stable
set search_path = ''
as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception using
      errcode = 'TY409', message = 'this takes a transaction with the isolation read committed',
      hint = 'It is the default: begin isolation level read committed.';
  end if;
end
$$;
alter function tally.check_read_committed owner to tally_owner;
revoke all on function tally.check_read_committed from public;
grant execute on function tally.check_read_committed to tally_tenant;
comment on function tally.check_read_committed is
  'Raises TY409 unless each statement of the transaction has a snapshot of its own.';
