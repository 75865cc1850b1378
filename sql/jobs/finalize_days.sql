-- Daily at 01:00 UTC: every local day that has ended.
select cron.schedule_in_database('pgtally finalize days', '0 1 * * *', 'call tally.finalize(''day'')', current_database(), 'tally_jobs');
