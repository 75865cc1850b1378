-- How far a figure may be from the exact one: percentiles of a meter come from a histogram
-- (tally.histogram_entry), those of raw events are exact, as everything else.
create function tally.relative_error(p_measure text, p_source text) returns numeric
language sql immutable parallel safe
as $$
  select case when p_measure in ('p50', 'p90', 'p99') and p_source <> 'events' then 0.01 else 0 end
$$;
alter function tally.relative_error owner to tally_owner;
revoke all on function tally.relative_error from public;
grant execute on function tally.relative_error to tally_tenant;
comment on function tally.relative_error is
  'The relative error that a measure from this source (tally.question_source) stays below: 0.01 for percentiles of a meter, otherwise 0.';
