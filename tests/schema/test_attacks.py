"""Isolation under attack: every object with every right as every kind of login, and a BI user who
types any SQL. What is allowed is a short list; everything else in the catalog has to refuse."""

import contextlib
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.brute_force import Event, ingest

AT = datetime(2024, 1, 1, tzinfo=UTC)
MARK = "xmarkerb"
REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)

# What a BI login may read, and the helpers that the views call for it. Nothing else.
BI_RELATIONS = {
    "bi.period_summaries", "bi.daily_summaries", "bi.weekly_summaries", "bi.monthly_summaries",
    "tally.summaries", "tally.summary_deltas", "tally.tenants", "tally.live_summaries",
    "bi.quarter_hour_summaries", "tally.meters", "tally.meter_deltas", "tally.meter_summaries",
    "bi.events", "bi.tenant", "tally.events", "tally.tenant_state",
    "bi.meter_days", "bi.meter_weeks", "bi.meter_months", "tally.live_meters",
}  # fmt: skip
# Where not all of them; some are infinite, for which Python has no time.
BI_COLUMNS = {
    "tally.tenants": "tenant_id, name, time_zone, week_start, created_at, event_retention, quarter_hour_retention, deleted_at, quotas",
    "tally.tenant_state": "tenant_id",
    "tally.meters": "tenant_id, name, version, event_types, filters, dimensions, value_of, unique_of",
}
BI_FUNCTIONS = {
    "current_tenant", "hashes_hll", "day_start", "local_date", "first_date", "next_date", "period_start",
    "period_end", "period_ceiling", "version", "local_time", "unique_actors",
    "check_query", "event_totals", "measure", "measures", "range_parts", "range_total",
    "edge_totals", "period_rows", "range_rows", "tenant_read", "meter_versions",
    "actor_totals", "range_rows_of", "summary_rows", "summary_rows_of", "waiting_deltas", "waiting_rows",
    "histogram_percentiles",
}  # fmt: skip


@pytest.fixture
def tenants(db, new_tenant):
    """Two tenants with folded and unfolded events, keys and rejected events; the second's are marked."""
    mine, other = new_tenant(), new_tenant()
    for tenant, name in ((mine, "mine"), (other, MARK)):
        for n in range(3):
            ingest(db, tenant, [Event(AT + timedelta(hours=n), uuid4(), name, n, f"{name} {n}")])
        db.execute("select tally.fold_tenant(%s)", (tenant,))
        ingest(db, tenant, [Event(AT + timedelta(days=1), uuid4(), name, 7, f"{name} 7")])
        db.execute("select api.key_create(%s, %s)", (tenant, name))
        db.execute("select api.meter_create(%s, %s, p_by => '{type,actorId}')", (tenant, name))
        db.execute(
            """
            select api.events_ingest_request(
              %s, '{}', '{}', '{}', '{}', '{}', '{}', '{}',
              jsonb_build_array(jsonb_build_object(
                'source', 'bulk', 'event', %s::text, 'errors', '[]'::jsonb, 'replayable', true)), %s)
            """,
            (tenant, name, name),
        )
    return mine, other


@pytest.fixture
def logins(dsn, db, tenants, service_dsn):
    """Connections of every kind of login."""
    mine, other = tenants
    made = {}
    for name, tenant in (("own", mine), ("other", other)):
        made[name] = db.execute(
            "select * from tally.bi_role_create(%s, 'attack')", (tenant,)
        ).fetchone()
    plain, nobody = f"plain_{uuid4().hex[:8]}", f"nobody_{uuid4().hex[:8]}"
    db.execute(f"create role {plain} login password 'x'".encode())
    db.execute(f"create role {nobody} login password 'x' in role tally_bi".encode())
    made["plain"], made["no tenant"] = (plain, "x"), (nobody, "x")
    with contextlib.ExitStack() as stack:
        found = {
            name: stack.enter_context(
                psycopg.connect(make_conninfo(dsn, user=user, password=password), autocommit=True)
            )
            for name, (user, password) in made.items()
        }
        found["service"] = stack.enter_context(psycopg.connect(service_dsn, autocommit=True))
        yield found
    for name in ("own", "other"):
        db.execute("call tally.bi_role_drop(%s)", (made[name][0],))
    for role in (plain, nobody):
        db.execute(f"drop role {role}".encode())


def relations(db):
    return db.execute(
        """
        select n.nspname || '.' || c.relname, c.relkind::text
        from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname in ('tally', 'api', 'bi') and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
        """
    ).fetchall()


def statements(db, name, kind):
    """Every way to touch a relation."""
    if kind == "S":
        return {
            "select": f"select last_value from {name}", "nextval": f"select nextval('{name}')",
            "setval": f"select setval('{name}', 1)",
        }  # fmt: skip
    columns = BI_COLUMNS.get(name, "*")
    (column,) = db.execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
        " and attidentity = '' order by attnum limit 1",
        (name,),
    ).fetchone()
    found = {
        "select": f"select {columns} from {name}",
        "copy": f"copy (select {columns} from {name}) to stdout",
        "insert": f"insert into {name} default values",
        "delete": f"delete from {name}",
        "update": f"update {name} set {column} = {column}",
        "truncate": f"truncate {name}",
        "trigger": f"create trigger t after insert on {name} execute function pg_catalog.suppress_redundant_updates_trigger()",
        "alter": f"alter table {name} disable row level security",
        "drop": f"drop table {name}",
        "lock": f"lock table {name} in exclusive mode",
        "for update": f"select 1 from {name} for update",
        "analyze": f"analyze {name}",
    }  # fmt: skip
    if kind == "v":
        for only_tables in ("truncate", "trigger", "alter", "drop", "analyze"):
            del found[only_tables]
    return found


def leaks(db, connection, own):
    """What this login can do that it should not: a list of descriptions."""
    found = []
    # Told to be writable: the refusal has to come from the rights, not from a setting.
    connection.execute("set default_transaction_read_only = off")
    for name, kind in relations(db):
        for right, statement in statements(db, name, kind).items():
            readable = own != "nothing" and name in BI_RELATIONS and right in ("select", "copy")
            try:
                with connection.transaction():
                    if right == "copy":
                        with connection.cursor().copy(statement.encode()) as copied:
                            rows = list(copied.rows())
                    else:
                        cursor = connection.execute(statement.encode())
                        rows = cursor.fetchall() if cursor.description else []
                    raise psycopg.Rollback
            except (
                psycopg.errors.InsufficientPrivilege,
                psycopg.errors.ObjectNotInPrerequisiteState,  # a view that cannot be written to
            ):
                if readable:
                    found.append(f"{right} on {name} is refused")
                continue
            except psycopg.Error as error:
                if (
                    right == "analyze"
                    or "not supported" in str(error)
                    or "is not a table" in str(error)
                ):
                    continue
                found.append(f"{right} on {name}: {error}")
                continue
            if right == "analyze":
                continue  # without the right it is skipped with a warning
            if not readable:
                found.append(f"{right} on {name} is allowed")
            elif any(MARK in str(row) or (own is None) for row in rows):
                found.append(f"{right} on {name} shows {rows[:1]}")
            elif own is not None and not all(str(own) in str(row) for row in rows):
                found.append(f"{right} on {name} shows rows of others")
    return found


def test_every_relation_refuses_every_right_that_is_not_on_the_list(db, logins, tenants):
    mine, _ = tenants
    assert leaks(db, logins["own"], mine) == []
    assert leaks(db, logins["no tenant"], None) == []
    assert leaks(db, logins["plain"], "nothing") == []
    assert leaks(db, logins["service"], "nothing") == []
    seen = logins["other"].execute("select distinct event_type from daily_summaries").fetchall()
    assert seen == [(MARK,)]


def test_the_suite_finds_a_table_that_somebody_left_open(db, logins, tenants):
    db.execute("create table tally.leak (tenant_id uuid primary key)")
    db.execute("insert into tally.leak values (gen_random_uuid())")
    db.execute("grant select on tally.leak to tally_bi")
    found = leaks(db, logins["own"], tenants[0])
    assert "select on tally.leak is allowed" in found
    db.execute("create policy hole on tally.summaries for select to tally_bi using (true)")
    assert any(
        "select on tally.summaries shows" in one for one in leaks(db, logins["own"], tenants[0])
    )


def test_every_function_is_closed_to_all_who_are_not_on_the_list(db, logins):
    functions = db.execute(
        """
        select p.oid, p.pronamespace::regnamespace::text, p.proname::text
        from pg_proc as p where p.pronamespace::regnamespace::text in ('tally', 'api', 'bi')
        """
    ).fetchall()
    assert len(functions) > 60
    for who, connection in logins.items():
        for oid, schema, name in functions:
            (may,) = connection.execute(
                "select has_function_privilege(%s, 'execute')", (oid,)
            ).fetchone()
            expected = {
                "service": schema == "api",
                "plain": False,
            }.get(who, name in BI_FUNCTIONS)
            assert may == expected, (who, schema, name)
    db.execute("create function tally.left_open() returns int language sql as 'select 1'")
    (oid,) = db.execute("select 'tally.left_open()'::regprocedure::oid").fetchone()
    (may,) = (
        logins["plain"].execute("select has_function_privilege(%s, 'execute')", (oid,)).fetchone()
    )
    assert may, "a function made by hand is open: the test above would find it"


def refused(connection, statement):
    try:
        with connection.transaction():
            connection.execute(statement.encode() if isinstance(statement, str) else statement)
            raise psycopg.Rollback
    except psycopg.Error as error:
        return MARK not in str(error)
    return False


def test_a_bi_user_who_types_any_sql_gets_nowhere(db, logins, tenants, dsn):
    mine, other = tenants
    bi = logins["own"]
    (name,) = bi.execute("select session_user").fetchone()
    (others_name,) = logins["other"].execute("select session_user").fetchone()
    (pid,) = logins["other"].execute("select pg_backend_pid()").fetchone()
    bi.execute("set default_transaction_read_only = off")
    (partition,) = db.execute(
        "select 'tally.' || relname from pg_class where relname ~ '^events_2' limit 1"
    ).fetchone()
    for statement in (
        # becoming somebody else
        "set role tally_tenant", "set role tally_owner", "set role postgres", f'set role "{others_name}"',
        f'set session authorization "{others_name}"', "set local session authorization tally_tenant",
        f'alter role "{name}" rename to bi_{other.hex}_x', f'alter role "{name}" superuser',
        f'alter role "{name}" bypassrls', f'alter role "{name}" createrole', f'alter role "{name}" connection limit 99',

        f"alter role current_user set tally.tenant_id = '{other}'", f'grant tally_owner to "{name}"', f'grant "{others_name}" to "{name}"', "create role x", "grant tally_bi to public",
        f'alter role "{others_name}" password \'x\'', "set row_security = off; select * from tally.summaries",
        # making something
        "create table x ()", "create table public.x ()", "create table bi.x ()", "create temp table x ()",
        "create schema x", "create view bi.v as select 1", "create function public.f() returns int language sql as 'select 1'",
        "create function pg_temp.f() returns int language sql as 'select 1'", "create operator public.@@@ (function = int4eq, leftarg = int, rightarg = int)",
        "create extension dblink", "create extension plpython3u", "create publication p", "create server s foreign data wrapper w",
        "create materialized view bi.m as select 1", "select * into public.x from bi.daily_summaries", "create event trigger e on ddl_command_end execute function f()",
        # files, programs, the server
        "select pg_read_file('/etc/passwd')", "select pg_read_binary_file('/etc/passwd')", "select pg_ls_dir('/')", "select pg_stat_file('/etc/passwd')",
        "copy (select 1) to program 'true'", "copy (select 1) to '/tmp/x'", "copy bi.daily_summaries from '/etc/passwd'",
        "select lo_import('/etc/passwd')", "select lo_export(1, '/tmp/x')", "alter system set jit = on", "select pg_reload_conf()",
        "select pg_rotate_logfile()", "select pg_switch_wal()", "checkpoint", "select pg_create_restore_point('x')", "load 'auto_explain'",
        "set session_preload_libraries = 'x'", "set log_statement = 'none'", "select pg_logical_emit_message(true, 'a', 'b')",
        # large objects and locks
        "select lo_create(0)", "select lo_creat(-1)", "select lo_from_bytea(0, 'x')", "select lo_put(1, 0, 'x')", "select lo_open(1, 131072)",
        "select lo_unlink(1)", "select loread(0, 1)", "select lowrite(0, 'x')", "select pg_advisory_lock(7463298455901)", "select pg_try_advisory_lock(1)",
        "select pg_advisory_xact_lock(1)", "select pg_try_advisory_xact_lock_shared(1, 2)", "select pg_advisory_unlock_all()",
        # others' sessions and statistics
        f"select 1 / (case when pg_terminate_backend({pid}) then 1 else 0 end)", f"select 1 / (case when pg_cancel_backend({pid}) then 1 else 0 end)",
        "select * from pg_statistic", "select * from pg_statistic_ext_data", "select * from pg_authid", "select * from pg_hba_file_rules",
        "select * from pg_user_mappings where umoptions is not null and 1 / 0 = 1 or (select count(*) from pg_shadow) > 0",
        # our tables, partitions and functions
        f"select * from {partition}", "select * from tally.events_default", "select rate_limits_per_minute from tally.tenants",
        "select t from tally.tenants as t", "table tally.api_keys", "select * from tally.audit_log", "select * from tally.receipts",
        f"select api.event_count('{other}')", f"select * from api.event_list('{mine}')", f"select tally.tenant_set_current('{other}')",
        f"select tally.fold_tenant('{mine}')", "call tally.fold()", "select tally.bi_role_list()", "select tally.installation_key_create('x')",
        "select query_to_xml('select * from tally.api_keys', true, false, '')", "select table_to_xml('tally.receipts', true, false, '')", "select cursor_to_xml('c', 1, true, false, '')",
        "do $$ begin perform * from tally.receipts; end $$", "do $$ begin execute 'create table public.x ()'; end $$",
        "declare c cursor for select * from tally.receipts", "prepare p as select * from tally.api_keys; execute p", "explain select * from tally.receipts",
        "select nextval('tally.summary_deltas_delta_id_seq')", "lock table tally.summaries in row exclusive mode",
        # what is not its own
        "reassign owned by tally_owner to current_user", "drop owned by tally_owner", "comment on view bi.daily_summaries is 'x'",
        "alter view bi.daily_summaries set (security_invoker = false)", "drop policy own_tenant on tally.summaries", "grant select on tally.summaries to public with grant option; select 1/0",
        "create policy p on tally.summaries using (true)", "alter table tally.summaries disable row level security", "create rule r as on select to bi.daily_summaries do instead select 1",
        "alter default privileges for role tally_owner grant select on tables to public", "alter database postgres set jit = on", "security label on role current_user is 'x'",
        "select cron.schedule('x', '* * * * *', 'select 1')", "update pg_proc set prosrc = 'x'", "insert into pg_auth_members values (1)",
        "vacuum tally.summaries", "cluster tally.summaries", "reindex table tally.summaries", "refresh materialized view x",
    ):  # fmt: skip
        assert refused(bi, statement), statement
    everything = (
        "select count(*), count(*) filter (where event_type <> 'mine') from bi.period_summaries"
    )
    before = bi.execute(everything).fetchone()
    assert before[0] > 0
    assert before[1] == 0
    # Allowed, and without effect on what it sees.
    for statement in (
        f"set tally.tenant_id = '{other}'", f"select set_config('tally.tenant_id', '{other}', false)",
         "set search_path = tally, pg_temp", "set row_security = on",
        "alter role current_user set search_path = tally", "alter default privileges grant execute on functions to public",
        "set plan_cache_mode = force_generic_plan", "notify pgtally, 'x'", "listen pgtally", "reset all", "discard all",
        "set session characteristics as transaction read write", "set statement_timeout = 0",
    ):  # fmt: skip
        bi.execute(statement.encode())
        assert bi.execute(everything).fetchone() == before, statement
    options = {"options": f"-c tally.tenant_id={other} -c search_path=tally -c row_security=on"}
    login = make_conninfo(dsn, user=name, password=bi.info.password, **options)
    with psycopg.connect(login, autocommit=True) as again:
        assert again.execute(everything).fetchone() == before


def test_no_error_statistic_or_plan_shows_rows_of_another_tenant(db, logins, tenants):
    mine, other = tenants
    db.execute("analyze")
    for column in ("events", "quarter_hours", "days", "weeks", "months"):
        end = "finalized_to" if column in ("days", "weeks", "months") else "kept_from"
        # XML knows no infinite times.
        db.execute(f"update tally.tenant_state set {column}_{end} = '1980-01-01Z'".encode())
    bi = logins["own"]
    for probe in (
        # Conditions that fail on a row of the other tenant must never see it: the policy goes first.
        f"select * from tally.summaries where 1 / (case when event_type = '{MARK}' then 0 else 1 end) = 1",
        f"select * from bi.period_summaries where 1 / (case when event_type = '{MARK}' then 0 else 1 end) = 1",
        "select * from tally.summaries where case when event_type not in ('mine', '') then event_type::int = 1 else true end",
        f"select * from tally.summary_deltas where case when tenant_id = '{other}' then event_type::int = 1 else true end",
        f"select * from tally.tenants_x where tenant_id = '{other}'".replace(
            "tenants_x", "tenants"
        ).replace("*", BI_COLUMNS["tally.tenants"]),
    ):
        assert all(str(mine) in str(row) for row in bi.execute(probe.encode()).fetchall()), probe
    for view in (
        "pg_stats", "pg_stats_ext", "pg_stats_ext_exprs", "pg_stat_activity", "pg_prepared_statements",
        "pg_cursors", "schema_to_xml('bi', true, false, '')", "table_to_xml('tally.summaries', true, false, '')", "pg_locks", "pg_stat_user_tables", "pg_settings", "pg_description",
    ):  # fmt: skip
        rows = bi.execute(f"select * from {view}".encode()).fetchall()
        assert not any(MARK in str(row) for row in rows), view
    stats = "select count(*) from pg_stats where schemaname = 'tally' and tablename in ('summaries', 'summary_deltas', 'events')"
    assert bi.execute(stats).fetchone() == (0,)
    activity = "select count(*) from pg_stat_activity where usename <> session_user and query not in ('', '<insufficient privilege>')"
    assert bi.execute(activity).fetchone() == (0,)
    # With six rows a sequential scan is cheaper.
    bi.execute("set enable_seqscan = off")
    plan = "\n".join(
        row[0]
        for row in bi.execute(
            "explain (analyze, verbose, costs off, timing off, summary off) select * from tally.summaries"
        )
    )
    # Rows of others are neither read and thrown away nor named: the policy is an index condition.
    assert MARK not in plan
    assert "Rows Removed by Filter" not in plan


def test_a_connection_limit_holds_and_a_login_that_left_traces_can_be_dropped(dsn, db, tenants):
    name, password = db.execute(
        "select * from tally.bi_role_create(%s, 'limited', '', 2)", (tenants[0],)
    ).fetchone()
    login = make_conninfo(dsn, user=name, password=password)
    with psycopg.connect(login, autocommit=True) as first, psycopg.connect(login):
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            psycopg.connect(login)
        first.execute("set default_transaction_read_only = off")
        first.execute("alter default privileges grant select on tables to public")
        first.execute("alter role current_user set work_mem = '1GB'")
        first.execute(sql.SQL("alter role current_user password {}").format("new"))
        db.execute("call tally.bi_role_drop(%s)", (name,))
        with pytest.raises(psycopg.OperationalError):
            first.execute("select 1")
    assert db.execute("select count(*) from pg_roles where rolname = %s", (name,)).fetchone() == (
        0,
    )


def test_a_stolen_service_password_opens_the_api_and_nothing_else(db, service_dsn, tenants):
    db.execute("select tally.installation_key_create('installation')")
    with psycopg.connect(service_dsn, autocommit=True) as thief:
        for statement in (
            "set role tally_owner", "set role tally_tenant", "set role tally_jobs", "select tally.installation_key_create('x')",
            "select * from tally.admin_key_list()", "select tally.bi_role_create(gen_random_uuid(), 'x')", "call tally.maintain()",
            "create temp table x ()", "create table public.x ()", "select lo_create(0)", "select pg_advisory_lock(1)",
            "select * from pg_authid", "copy (select 1) to program 'true'", "select * from bi.daily_summaries", "truncate tally.rate_buckets",
            "select tally.key_make(null, 'x', array['admin'])", "alter role tally_service superuser", "select cron.schedule('x', '* * * * *', '')",
        ):  # fmt: skip
            assert refused(thief, statement), statement
        assert (
            thief.execute("select * from api.key_create(null, 'x', array['admin'])").fetchall()
            == []
        )
        (admin,) = db.execute(
            "select key_id from tally.api_keys where tenant_id is null"
        ).fetchone()
        for statement in ("select api.key_revoke(%s, %s)", "select api.key_rotate(%s, %s)"):
            for tenant in (tenants[0], UUID(int=0)):
                with pytest.raises(psycopg.DatabaseError):
                    thief.execute(statement.encode(), (tenant, admin))
        # Setting the tenant by hand opens nothing: there is no table to read.
        thief.execute("select set_config('tally.tenant_id', %s, false)", (str(tenants[1]),))
        assert refused(thief, "select * from tally.events")


def test_no_answer_to_one_tenant_holds_anything_of_another(db, service_dsn, tenants):
    mine, other = tenants
    ids = {
        "event": db.execute(
            "select event_id from tally.events where tenant_id = %s", (other,)
        ).fetchone()[0],
        "key": db.execute(
            "select key_id from tally.api_keys where tenant_id = %s", (other,)
        ).fetchone()[0],
        "rejected": db.execute(
            "select rejected_id from tally.rejected_events where tenant_id = %s", (other,)
        ).fetchone()[0],
    }
    calls = {
        "event_count": ("p_types => %s", [[MARK]]), "event_by_type": ("p_types => %s", [[MARK]]),
        "event_timeline": ("'month', p_types => %s", [[MARK]]), "event_list": ("p_types => %s", [[MARK]]),
        "event_page": ("p_actor => %s", [f"{MARK} 1"]), "summary_list": ("'day', '2024-01-01', '2024-02-01', %s", [""]),
        "summary_changes": ("'-infinity', %s", [100]), "key_list": ("", []), "key_revoke": ("%s", [ids["key"]]),
        "key_rotate": ("%s", [ids["key"]]), "receipt_find": ("%s", [MARK]), "rejected_list": ("", []),
        "rejected_replay": ("%s", [[ids["rejected"]]]), "actor_erase": ("%s", [f"{MARK} 1"]), "tenant_update": ("%s", [""]),
        "event_breakdown": ("'{type,actorId}', p_limit => %s", [100]), "meter_list": ("", []),
        "share_create": ("%s, '{}', now() + interval '1 day'", ["x"]), "share_list": ("", []),
        "share_revoke": ("%s", [ids["key"]]), "tenant_overview": ("", []),
        "event_breakdown_timeline": ("'{type,actorId}', 'month', p_limit => %s", [100]),
        "meter_create": ("%s", ["m"]), "meter_delete": ("%s", [MARK]),
        "meter_summary_list": ("%s, 'day', '2024-01-01', '2024-02-01'", [MARK]), "meter_changes": ("%s", [MARK]),
        "tenant_delete": ("%s, null", [MARK]), "tenant_deletion_find": ("", []),
        "key_create": ("%s", ["one more"]), "events_ingest_json": ("%s::json", ['[{"type": "x"}]']),
        "events_ingest": ("%s, %s, '{x}', '{1}', '{y}', '{z}', '{\"{}\"}'", [[AT], [ids["event"]]]),
        "events_ingest_request": ("%s, %s, '{x}', '{1}', '{y}', '{z}', '{\"{}\"}'", [[AT], [ids["event"]]]),
    }  # fmt: skip
    takes_tenant = {
        name
        for (name,) in db.execute(
            "select proname::text from pg_proc where pronamespace = 'api'::regnamespace and proargnames[1] = 'p_tenant' and proargtypes[0] = 'uuid'::regtype"
        )
    }
    assert takes_tenant == calls.keys()
    counts = "select (select count(*) from tally.events where tenant_id = %(t)s), (select count(*) from tally.api_keys where tenant_id = %(t)s and revoked_at is null), (select count(*) from tally.rejected_events where tenant_id = %(t)s)"
    before = db.execute(counts, {"t": other}).fetchone()
    with psycopg.connect(service_dsn, autocommit=True) as service:
        for name, (arguments, values) in calls.items():
            comma = ", " if arguments else ""
            try:
                answer = service.execute(
                    f"select * from api.{name}(%s{comma}{arguments})".encode(), [mine, *values]
                ).fetchall()
            except psycopg.Error as error:
                answer = [
                    error.diag.message_primary,
                    error.diag.message_detail,
                    error.diag.message_hint,
                ]
                if not (error.sqlstate or "").startswith("TY"):
                    raise
            assert MARK not in str(answer), name
            assert str(other) not in str(answer), name
    assert db.execute(counts, {"t": other}).fetchone() == before
