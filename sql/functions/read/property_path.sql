-- data.a.b is {a,b}: a dot goes down a level, as in filters. Inlined.
create function tally.property_path(p_name text) returns text[]
language sql immutable parallel safe
as $$ select string_to_array(substr(p_name, 6), '.') $$;
alter function tally.property_path owner to tally_owner;
revoke all on function tally.property_path from public;
grant execute on function tally.property_path to tally_tenant;
comment on function tally.property_path is 'The keys that lead to a property: data.a.b is {a,b}.';
