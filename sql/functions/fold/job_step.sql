-- One step of a job for one tenant, in the caller's transaction: what it did, how many summary rows it
-- had to heal, and whether there is more to do. p_days is for verify.
create function tally.job_step(
  p_step text, p_tenant uuid, p_days integer,
  out rows bigint, out healed bigint, out more boolean
)
language plpgsql volatile
set search_path = ''
as $$
declare
  v_last bigint;
begin
  rows := 0;
  healed := 0;
  more := false;
  case p_step
    when 'fold' then
      -- Of meters a step may end early (tally.fold_meters). What arrives meanwhile is for the next run.
      select max(m.delta_id) into v_last
      from tally.meter_deltas as m
      where m.tenant_id = p_tenant;
      rows := tally.fold_tenant(p_tenant, 20000);
      more := rows >= 20000 or exists (
        select
        from tally.meter_deltas as m
        where m.tenant_id = p_tenant and m.delta_id <= v_last);
    when 'measure' then
      rows := tally.usage_measure(p_tenant);
    when 'finalize day', 'finalize week', 'finalize month' then
      select f.periods, f.healed into rows, healed
      from tally.finalize_tenant(p_tenant, split_part(p_step, ' ', 2), 31) as f;
      -- Fewer than a full step: what late events reopen meanwhile is for the next run.
      more := rows = 31;
    when 'fill meters' then
      rows := tally.fill_meters(p_tenant);
      more := rows > 0;
    when 'verify' then
      healed := tally.heal_tenant(p_tenant, p_days);
    when 'move retention bounds' then
      perform tally.retention_apply(p_tenant, 0);
    when 'apply retention' then
      rows := tally.retention_apply(p_tenant);
      more := rows > 0;
    when 'delete tenant' then
      -- What others hold up is for the next run.
      select s.rows, s.more and not s.waiting into rows, more
      from tally.tenant_remove_step(p_tenant) as s;
  end case;
end
$$;
alter function tally.job_step owner to tally_owner;
revoke all on function tally.job_step from public;
comment on function tally.job_step is
  'One step of a job (fold, measure, finalize day, week or month, fill meters, verify, move retention bounds, apply retention, delete tenant) for a tenant; returns rows, healed rows and whether there is more.';
