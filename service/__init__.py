"""pgtally: multi-tenant event analytics. PostgreSQL holds the logic, this package the edges."""
