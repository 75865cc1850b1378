-- Every minute.
select cron.schedule('pgtally fold', '* * * * *', 'call tally.fold()');
