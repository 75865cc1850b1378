-- Every minute: counts for new meters what had happened before them.
select cron.schedule('pgtally fill meters', '* * * * *', 'call tally.fill()');
