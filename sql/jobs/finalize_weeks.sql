-- Fridays at 01:00 UTC: every week that has ended.
select cron.schedule('pgtally finalize weeks', '0 1 * * 5', 'call tally.finalize(''week'')');
