"""Every policy and every grant on our schemas, as a list: whoever changes one has to change it here."""

import pytest

OURS = "('api', 'bi', 'tally')"

OWN_ROWS = "(tenant_id = tally.current_tenant())"
TABLES_WITH_OWN_ROWS = {
    "tally.api_keys", "tally.erasures", "tally.events", "tally.meter_deltas",
    "tally.meter_summaries", "tally.meters", "tally.receipts", "tally.rejected_events",
    "tally.share_links", "tally.summaries", "tally.summary_deltas", "tally.tenant_deletions",
    "tally.tenant_state", "tally.tenants",
}  # fmt: skip

# Their owner, tally_owner, may do everything; who else may do what. Partitions have no grants.
SCHEMAS = {
    "api": {"tally_jobs": "usage", "tally_service": "usage", "tally_tenant": "usage"},
    "bi": {"tally_bi": "usage", "tally_tenant": "usage"},
    "tally": {"tally_bi": "usage", "tally_tenant": "usage"},
}
RELATIONS = {
    "bi.daily_summaries": {"tally_bi": "select", "tally_tenant": "select"},
    "bi.events": {"tally_bi": "select", "tally_tenant": "select"},
    "bi.meter_days": {"tally_bi": "select", "tally_tenant": "select"},
    "bi.meter_months": {"tally_bi": "select", "tally_tenant": "select"},
    "bi.meter_weeks": {"tally_bi": "select", "tally_tenant": "select"},
    "bi.monthly_summaries": {"tally_bi": "select", "tally_tenant": "select"},
    "bi.period_summaries": {"tally_bi": "select", "tally_tenant": "select"},
    "bi.quarter_hour_summaries": {"tally_bi": "select", "tally_tenant": "select"},
    "bi.tenant": {"tally_bi": "select", "tally_tenant": "select"},
    "bi.weekly_summaries": {"tally_bi": "select", "tally_tenant": "select"},
    "tally.erasures": {"tally_tenant": "select"},
    "tally.events": {"tally_bi": "select", "tally_tenant": "delete insert select"},
    "tally.live_meters": {"tally_bi": "select", "tally_tenant": "select"},
    "tally.live_summaries": {"tally_bi": "select", "tally_tenant": "select"},
    "tally.meter_deltas": {"tally_bi": "select", "tally_tenant": "insert select"},
    "tally.meter_summaries": {"tally_bi": "select", "tally_tenant": "select"},
    "tally.meters": {"tally_bi": "select", "tally_tenant": "select"},
    "tally.receipts": {"tally_tenant": "insert select update"},
    "tally.rejected_events": {"tally_tenant": "delete insert select update"},
    "tally.summaries": {"tally_bi": "select", "tally_tenant": "select"},
    "tally.summary_deltas": {"tally_bi": "select", "tally_tenant": "insert select"},
    "tally.tenant_deletions": {"tally_tenant": "select"},
    "tally.tenant_state": {"tally_bi": "select", "tally_tenant": "select"},
    "tally.tenants": {"tally_tenant": "select"},
}
COLUMNS = {
    ("tally.tenants", "tally_bi", "select"): (
        "created_at deleted_at event_retention name quarter_hour_retention quotas tenant_id"
        " time_zone week_start"
    ),
}
# Schema, owner, who else may execute. What is not here is for the owner alone.
FUNCTIONS = {
    ("api", "tally_tenant", "tally_owner tally_service"): """
        event_breakdown event_breakdown_timeline event_by_type event_count event_list event_page event_timeline events_ingest
        events_ingest_each events_ingest_json events_ingest_request meter_changes meter_list
        meter_summary_list receipt_find rejected_list
        rejected_replay summary_changes summary_list tenant_overview
    """,
    ("api", "tally_owner", "tally_service"): """
        actor_erase job_list key_create key_find key_list key_revoke key_rotate key_touch meter_create
        meter_delete metrics rate_take
        service_details service_status share_create share_find share_list share_revoke tenant_create
        tenant_delete tenant_deletion_find tenant_list tenant_update tenant_volume_list
    """,
    ("tally", "tally_owner", "tally_bi tally_tenant"): """
        check_query current_tenant day_start event_totals first_date hashes_hll histogram_percentiles
        local_date local_time measure measures meter_versions next_date period_ceiling period_end
        period_start range_parts range_total edge_totals period_rows range_rows tenant_read
        actor_totals range_rows_of summary_rows summary_rows_of waiting_deltas waiting_rows
    """,
    ("bi", "tally_owner", "tally_bi"): "unique_actors",
    ("tally", "tally_owner", "tally_bi"): "version",
    ("tally", "tally_owner", "tally_tenant"): """
        actor_hash check_dimension check_events check_limit check_meter_range
        check_partition_version check_read_committed check_time_zone count_conflicts data_error
        earliest_time event_columns event_errors dimension event_stored filter_path finalized_to
        group_key group_measure group_text group_totals group_values histogram_compact
        histogram_entry ingest_lock is_no_number
        is_plain is_uuid json_literal keep_time
        meter_days_in_doubt meter_find meter_ingest meter_parts meter_totals number_of picked_totals
        property_events property_measures property_path question question_range question_source
        ranked_totals raw_groups relative_error short_text knows_time_zone replay_errors text_error value_error
        parse_date parse_instant partition_version partition_version_seen
        period_type_name query_zone raise_invalid range_date range_end range_previous raw_totals reject_events
        event_total range_complement summary_extent summary_range tenant_set_current tenant_write time_error timeline
        timeline_buckets uuid7 uuid7_time
    """,
}
MEMBERS = {"tally_jobs": "tally_owner", "tally_owner": "pg_read_all_stats"}


def rows(db, text):
    return db.execute(text.format(ours=OURS).encode()).fetchall()


def by_grantee(found):
    """(object, grantee, right) as {object: {grantee: rights}}."""
    listed = {}
    for name, grantee, right in found:
        listed.setdefault(name, {}).setdefault(grantee, []).append(right.lower())
    return {
        name: {who: " ".join(sorted(rights)) for who, rights in grants.items()}
        for name, grants in listed.items()
    }


GRANTED = """
  case a.grantee when 0 then 'public' else a.grantee::regrole::text end,
  a.privilege_type || case when a.is_grantable then ' grantable' else '' end
"""


def schema_grants(db):
    return by_grantee(rows(db, f"""
        select n.nspname, {GRANTED}
        from pg_namespace as n
        cross join lateral aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) as a
        where n.nspname in {{ours}} and a.grantee <> n.nspowner
        """))  # fmt: skip


def relation_grants(db):
    return by_grantee(rows(db, f"""
        select c.oid::regclass::text, {GRANTED}
        from pg_class as c
        cross join lateral aclexplode(c.relacl) as a
        where c.relnamespace::regnamespace::text in {{ours}} and a.grantee <> c.relowner
        """))  # fmt: skip


def column_grants(db):
    found = {}
    for column, table, grantee, right in rows(
        db,
        f"""
        select t.attname, t.attrelid::regclass::text, {GRANTED}
        from pg_attribute as t
        join pg_class as c on c.oid = t.attrelid
        cross join lateral aclexplode(t.attacl) as a
        where c.relnamespace::regnamespace::text in {{ours}} and a.grantee <> c.relowner
        """,
    ):
        found.setdefault((table, grantee, right.lower()), []).append(column)
    return {key: " ".join(sorted(names)) for key, names in found.items()}


def function_grants(db):
    found = {}
    for schema, owner, grantees, name in rows(db, """
        select p.pronamespace::regnamespace::text, p.proowner::regrole::text, g.grantees, p.proname
        from pg_proc as p
        cross join lateral (
          select string_agg(
            case a.grantee when 0 then 'public' else a.grantee::regrole::text end
              || case when a.is_grantable then ' grantable' else '' end,
            ' ' order by a.grantee::regrole::text) as grantees
          from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
          where a.grantee <> p.proowner
        ) as g
        where p.pronamespace::regnamespace::text in {ours} and g.grantees is not null
        """):  # fmt: skip
        found.setdefault((schema, owner, grantees), set()).add(name)
    return found


def test_a_policy_shows_and_takes_a_tenants_own_rows_and_no_table_has_another(db):
    found = rows(db, """
        select polrelid::regclass::text, polname::text, polcmd::text, polpermissive,
          polroles::regrole[]::text[], pg_get_expr(polqual, polrelid),
          pg_get_expr(polwithcheck, polrelid)
        from pg_policy
        """)  # fmt: skip
    assert {table for table, *_ in found} == TABLES_WITH_OWN_ROWS
    for table, *policy in found:
        assert policy == ["own_tenant", "*", True, ["-"], OWN_ROWS, OWN_ROWS], table


def test_schemas_are_open_to_those_on_the_list(db):
    assert schema_grants(db) == SCHEMAS


def test_tables_views_and_sequences_are_open_to_those_on_the_list(db):
    assert relation_grants(db) == RELATIONS


def test_columns_are_open_to_those_on_the_list(db):
    assert column_grants(db) == COLUMNS


def test_functions_are_open_to_those_on_the_list_and_run_as_their_owner(db):
    assert function_grants(db) == {key: set(names.split()) for key, names in FUNCTIONS.items()}


def test_our_roles_are_members_of_nothing_that_is_not_on_the_list(db):
    found = rows(db, """
        select member::regrole::text, roleid::regrole::text from pg_auth_members
        where member::regrole::text like 'tally%' or roleid::regrole::text like 'tally_[^b]%'
        """)  # fmt: skip
    assert dict(found) == MEMBERS


def test_what_is_made_later_is_open_to_nobody(db):
    found = rows(db, "select defaclrole::regrole::text, defaclobjtype::text, defaclacl::text from pg_default_acl")  # fmt: skip
    assert sorted(found) == [
        (role, "f", f"{{{role}=X/{role}}}") for role in ("tally_owner", "tally_tenant")
    ]


@pytest.mark.parametrize(
    ("statement", "found_by"),
    [
        ("grant select on tally.api_keys to tally_tenant", relation_grants),
        ("grant update (name) on tally.tenants to tally_tenant", column_grants),
        ("grant create on schema tally to tally_tenant", schema_grants),
        ("grant execute on function tally.audit to tally_tenant", function_grants),
        ("grant execute on procedure tally.fold to public", function_grants),
        ("grant select on tally.events_default to tally_tenant", relation_grants),
        ("grant usage on sequence tally.audit_log_audit_id_seq to tally_tenant", relation_grants),
        ("grant select on tally.erasures to tally_tenant with grant option", relation_grants),
    ],
)  # fmt: skip
def test_the_lists_notice_a_grant_too_many(db, statement, found_by):
    before = found_by(db)
    db.execute(statement.encode())
    assert found_by(db) != before
