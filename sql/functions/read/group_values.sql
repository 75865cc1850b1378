create function tally.group_values(p_key text[], p_dimensions text[], p_by text[]) returns text[]
language sql immutable strict parallel safe
as $$
  select array_agg(p_key[array_position(p_dimensions, by.name)] order by by.i)
  from unnest(p_by) with ordinality as by (name, i)
$$;
alter function tally.group_values owner to tally_owner;
revoke all on function tally.group_values from public;
grant execute on function tally.group_values to tally_tenant;
comment on function tally.group_values is
  'The values of a group in the order in which its dimensions were asked for.';
