-- Every minute, and within it every few seconds for busy tenants.
select cron.schedule('pgtally fold', '* * * * *', 'call tally.fold(''50 s'')');
