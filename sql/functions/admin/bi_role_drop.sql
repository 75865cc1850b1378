-- Removes a BI login. First, and in a transaction of its own, it can no longer log in, and its
-- connections end: that stays so whatever is refused afterwards. Then it is dropped, unless it owns
-- something, here or in another database of the server, which the message names with what to run.
-- p_drop_owned deletes what it owns here; what it was merely granted goes in any case, and so does a
-- schema that was made for it and is empty. Call it as a
-- role that may drop roles, in the database that the login was made for, outside of a transaction.
create procedure tally.bi_role_drop(p_role text, p_drop_owned boolean default false)
language plpgsql
as $$
declare
  v_here oid := (select d.oid from pg_catalog.pg_database as d where d.datname = current_database());
  v_role oid;
  v_owned text;
  v_elsewhere text;
  v_remedy text;
begin
  select r.oid into v_role
  from pg_catalog.pg_roles as r
  where r.rolname = p_role and r.rolname ~ '^bi_[0-9a-f]{32}_';
  if not found then
    raise exception using errcode = 'TY404', message = 'no such BI login';
  end if;
  execute format('alter role %I nologin', p_role);
  perform tally.audit('bi_role.close', substr(p_role, 4, 32)::uuid, p_role);
  commit;
  -- Who made the login may drop it, but needs its rights to end its sessions and what it owns.
  if not pg_catalog.pg_has_role(v_role, 'usage') then
    execute format('grant %I to current_user', p_role)
      || case when current_setting('server_version_num')::integer >= 160000 then ' with inherit true' else '' end;
  end if;
  perform pg_catalog.pg_terminate_backend(a.pid, 5000)
  from pg_catalog.pg_stat_activity as a
  where a.usesysid = v_role;
  select
    string_agg(o.description, ', ' order by o.nth) filter (where o.nth <= 20)
    || case when count(*) > 20 then format(' and %s more', count(*) - 20) else '' end
  into v_owned
  from (
    select
      pg_catalog.pg_describe_object(s.classid, s.objid, s.objsubid) as description,
      row_number() over (
        order by s.classid = 'pg_catalog.pg_namespace'::regclass desc, s.classid, s.objid) as nth
    from pg_catalog.pg_shdepend as s
    where s.refclassid = 'pg_catalog.pg_authid'::regclass
      and s.refobjid = v_role
      and s.dbid in (0, v_here)
      and s.deptype = 'o'
      -- Default privileges that it has set: nothing that anybody would miss.
      and s.classid <> 'pg_catalog.pg_default_acl'::regclass
  ) as o;
  if v_owned is null or p_drop_owned then
    execute format('drop owned by %I', p_role);
    perform tally.bi_schema_drop(substr(p_role, 4, 32)::uuid, false);
    commit;
    v_owned := null;
  end if;
  select
    string_agg(format('%s in database %s', e.things, e.datname), ', ' order by e.datname),
    string_agg(format('in database %s: drop owned by %I', e.datname, p_role), '; ' order by e.datname)
  into v_elsewhere, v_remedy
  from (
    select d.datname, count(*) as things
    from pg_catalog.pg_shdepend as s
    join pg_catalog.pg_database as d on d.oid = s.dbid
    where s.refclassid = 'pg_catalog.pg_authid'::regclass
      and s.refobjid = v_role
      and s.dbid <> v_here
    group by d.datname
  ) as e;
  if v_owned is not null or v_elsewhere is not null then
    raise exception using
      errcode = 'TY409',
      message = format('%s can no longer log in, but is not dropped: it owns ', p_role)
        || concat_ws(' and ', v_owned, v_elsewhere),
      hint = 'To keep that, `reassign owned by`; to delete it, ' || concat_ws(
        '; ',
        case when v_owned is not null then
          format(
            'call tally.bi_role_drop(%L, p_drop_owned => true) or `pgtally bi-role drop --drop-owned`', p_role)
        end,
        v_remedy) || '. Then drop the login again.';
  end if;
  execute format('drop role %I', p_role);
  perform tally.audit('bi_role.drop', substr(p_role, 4, 32)::uuid, p_role);
end
$$;
alter procedure tally.bi_role_drop owner to tally_owner;
revoke all on procedure tally.bi_role_drop from public;
comment on procedure tally.bi_role_drop is
  'Closes a BI login, ends its connections and drops it; what it owns is deleted only with p_drop_owned. TY404; TY409, naming what it owns in which database, when it is closed but not dropped.';
