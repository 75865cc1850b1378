-- On the 1st at 00:00 UTC: every month that has ended. A tenant west of Greenwich is still in the
-- old month then, so a second run on the 2nd catches it.
select cron.schedule('pgtally finalize months', '0 0 1,2 * *', 'call tally.finalize(''month'')');
