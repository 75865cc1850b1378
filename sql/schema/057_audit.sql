create table tally.audit_log (
  audit_id bigint generated always as identity primary key,
  occurred_at timestamptz not null default clock_timestamp(),
  action text not null,
  tenant_id uuid,
  subject text not null,
  login text not null default session_user,
  key_id uuid,
  details jsonb not null default '{}'
);
comment on table tally.audit_log is
  'Administrative acts: tenants and keys made, changed and revoked, BI logins, erasures, changes of calendar. Written in the transaction of the act. Holds no secret and no actor.';
comment on column tally.audit_log.action is 'What was done, for example key.create.';
comment on column tally.audit_log.subject is 'To what: the id of a key, the name of a login, the id of an erasure.';
comment on column tally.audit_log.login is 'The database login that did it: tally_service for requests over HTTP.';
comment on column tally.audit_log.key_id is 'For a request over HTTP, the API key that asked, as tally_service says; always a key of the tenant or of the installation.';
create index audit_log_tenant_id on tally.audit_log (tenant_id, audit_id);

alter table tally.audit_log enable row level security;
