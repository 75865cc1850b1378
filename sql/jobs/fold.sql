-- Every minute.
select cron.schedule_in_database('pgtally fold', '* * * * *', 'call tally.fold()', current_database(), 'tally_jobs');
