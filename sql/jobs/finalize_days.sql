-- Daily at 01:00 UTC: every local day that has ended.
select cron.schedule('pgtally finalize days', '0 1 * * *', 'call tally.finalize(''day'')');
