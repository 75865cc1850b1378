-- Hourly: partitions ahead, the default partition drained, old records pruned.
select cron.schedule('pgtally maintain', '17 * * * *', 'call tally.maintain()');
