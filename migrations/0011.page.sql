-- depends: 0010.doors
-- Share links: one view of a tenant's figures for whoever has the link.
set local lock_timeout = '5s';
set local statement_timeout = '10min';
set local role tally_owner;

create table tally.share_links (
  share_id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null references tally.tenants,
  name text not null check (length(name) between 1 and 200),
  token_prefix text not null unique,
  token_hash bytea not null unique check (length(token_hash) = 32),
  view jsonb not null
    constraint share_links_view_check
      check (jsonb_typeof(view) = 'object' and octet_length(view::text) <= 8192),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  revoked_at timestamptz
);
comment on table tally.share_links is
  'Links that show one view of a tenant''s figures to whoever has them, until they expire or are revoked. The token in a link is shown once, when it is made, and never stored.';
comment on column tally.share_links.token_prefix is 'The public start of the token, by which it is found.';
comment on column tally.share_links.token_hash is 'sha-256 of the whole token, which holds 244 random bits.';
comment on column tally.share_links.view is 'What the link shows: parameters of the page, each with a list of its texts. The link shows nothing else.';
create index share_links_tenant_id on tally.share_links (tenant_id, created_at);

alter table tally.share_links enable row level security;
create policy own_tenant on tally.share_links
  using (tenant_id = tally.current_tenant())
  with check (tenant_id = tally.current_tenant());

insert into tally.schema_migrations (migration_id) values ('0011.page');
