-- Daily at 03:00 UTC, after finalize.
select cron.schedule_in_database('pgtally verify', '0 3 * * *', 'call tally.verify_recent()', current_database(), 'tally_jobs');
