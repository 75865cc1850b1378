-- Daily at 03:00 UTC, after finalize.
select cron.schedule('pgtally verify', '0 3 * * *', 'call tally.verify_recent()');
