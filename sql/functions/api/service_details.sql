-- What tally.doctor finds, for whoever runs the installation.
create function api.service_details()
returns table (check_name text, status text, message text, remedy text)
language plpgsql stable security definer
set search_path = ''
as $$
begin
  return query select * from tally.doctor();
end
$$;
alter function api.service_details owner to tally_owner;
revoke all on function api.service_details from public;
grant execute on function api.service_details to tally_service;
comment on function api.service_details is
  'A row for each check of tally.doctor, what is wrong first, with what to run.';
