-- Are these origins as browsers name them, and the scopes those of a key that everybody can read? A
-- browser writes an origin in small letters, without a path and without the port that its scheme has
-- anyway; written in another way it would never be met. The origin of a file or of a sandbox is null.
create function tally.check_origins(p_origins text[], p_scopes text[]) returns void
language plpgsql immutable
set search_path = ''
as $$
declare
  v_origin text;
begin
  if cardinality(p_origins) > 20 then
    raise exception using
      errcode = 'TY400', column = 'p_origins', message = 'a key is bound to at most 20 origins';
  elsif p_origins <> '{}' and p_scopes <> array['ingest'] then
    raise exception using
      errcode = 'TY400', column = 'p_scopes',
      message = 'a key that is bound to origins is public, so it has the scope ingest alone';
  end if;
  foreach v_origin in array p_origins loop
    if length(v_origin) <= 255
      and v_origin ~ '^https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?$'
      and v_origin !~ '^(https://.*:443|http://.*:80)$'
    then
      continue;
    end if;
    raise exception using
      errcode = 'TY400', column = 'p_origins',
      message = 'expected origins as https://example.com: no path, small letters, no usual port';
  end loop;
end
$$;
alter function tally.check_origins owner to tally_owner;
revoke all on function tally.check_origins from public;
comment on function tally.check_origins is
  'Raises TY400 unless these are origins as browsers name them, and the scopes fit a public key.';
