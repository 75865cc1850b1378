-- Daily: pg_cron keeps the record of every run for ever otherwise. A login sees and removes its own.
select cron.schedule('pgtally prune cron log', '41 2 * * *',
  'delete from cron.job_run_details where end_time < now() - interval ''7 days''');
