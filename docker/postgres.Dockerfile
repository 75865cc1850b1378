# PostgreSQL with the two extensions that pgtally needs.
FROM postgres:17-bookworm
# Not pinned: the repository keeps only the newest version of each.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends postgresql-17-cron postgresql-17-hll \
 && rm -rf /var/lib/apt/lists/*
CMD ["postgres", \
  "-c", "shared_preload_libraries=pg_cron", \
  "-c", "cron.database_name=pgtally", \
  "-c", "cron.use_background_workers=on", \
  "-c", "max_worker_processes=24", \
  "-c", "shared_buffers=512MB", \
  "-c", "max_wal_size=4GB", \
  "-c", "jit=off", \
  "-c", "timezone=UTC"]
