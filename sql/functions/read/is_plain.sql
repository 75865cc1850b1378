create function tally.is_plain(p_question tally.question) returns boolean
language sql immutable parallel safe
as $$
  select p_question.dimensions in ('{}', '{type}')
    and p_question.filters = '[]'
    and p_question.actor_id = ''
    and (p_question.measure in ('count', 'uniqueActors')
      or p_question.measure in ('sum', 'avg', 'min', 'max') and p_question.value_of = 'value')
    and (p_question.measure <> 'uniqueActors' or p_question.unique_of = 'actorId')
$$;
alter function tally.is_plain owner to tally_owner;
revoke all on function tally.is_plain from public;
grant execute on function tally.is_plain to tally_tenant;
comment on function tally.is_plain is 'Do the summaries answer the question: all of it, or by type?';
