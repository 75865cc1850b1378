-- Says that what was healed until now is known, and why it was to be: from then on the doctor and
-- the metrics tell of later heals only. It names the runs that it saw, so that one which ends meanwhile
-- is told of all the same. The runs keep their figures.
create function tally.healed_acknowledge(p_reason text) returns bigint
language plpgsql volatile strict
set search_path = ''
as $$
declare
  v_rows bigint := tally.healed_rows();
begin
  if btrim(p_reason) = '' then
    raise exception using errcode = 'TY400', message = 'say why: the reason is kept';
  elsif v_rows > 0 then
    perform tally.audit(
      'healed.acknowledge', null, p_reason,
      p_details => (
        select jsonb_build_object('rows', v_rows, 'runs', jsonb_agg(r.job_run_id))
        from tally.job_runs as r
        where r.healed_count > 0));
  end if;
  return v_rows;
end
$$;
alter function tally.healed_acknowledge owner to tally_owner;
revoke all on function tally.healed_acknowledge from public;
comment on function tally.healed_acknowledge is
  'Says that what jobs have healed until now is known, with the reason, in tally.audit_log; returns how many summary rows that were. The doctor and the metrics tell of later ones only.';
