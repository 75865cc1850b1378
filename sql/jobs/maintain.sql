-- Hourly: partitions ahead, the default partition drained, old records pruned.
select cron.schedule_in_database('pgtally maintain', '17 * * * *', 'call tally.maintain()', current_database(), 'tally_jobs');
