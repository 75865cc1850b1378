-- How long records are kept that are no events: a setting of the database where the DBA has made one
-- (alter database pgtally set tally.keep_receipts_days = 30), else the default here.
create function tally.keep_time(p_records text) returns interval
language plpgsql stable strict
set search_path = ''
as $$
begin
  return make_interval(days => coalesce(
    nullif(current_setting(format('tally.keep_%s_days', p_records), true), '')::integer,
    case p_records
      when 'receipts' then 7
      when 'rejected_events' then 30
      when 'job_runs' then 30
    end));
end
$$;
alter function tally.keep_time owner to tally_owner;
revoke all on function tally.keep_time from public;
grant execute on function tally.keep_time to tally_tenant;
comment on function tally.keep_time is
  'How long receipts (7 days), rejected_events (30) and job_runs (30) are kept, or what the database''s settings tally.keep_receipts_days and so on say.';
