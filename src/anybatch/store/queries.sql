-- add_run --
-- Write down a run whose requests file is complete.
insert into runs (
    id, created_at, source, spec, fingerprint, parts, columns, total, skipped, budgeted,
    wave, state, why, ended_at, canary, account, keep_remote, terms, copies, reused, crc
) values (
    :id, :created_at, :source, :spec, :fingerprint, :parts, :columns, :total, :skipped, :budgeted,
    :wave, :state, :why, :ended_at, :canary, :account, :keep_remote, :terms, :copies, :reused, :crc
);

-- add_batch --
-- Write down a planned batch.
insert into batches (
    id, run_id, wave, attempt, part, status, first, size, tokens, ordered, budget_factor, due,
    owner, lease_until, token, journal, counts, retried, copies, copies_retried, usage, window,
    executor, tier, stage, pack, trial, remote, reused, crc
) values (
    :id, :run_id, :wave, :attempt, :part, :status, :first, :size, :tokens, :ordered,
    :budget_factor, :due, :owner, :lease_until, :token, :journal, :counts, :retried, :copies,
    :copies_retried, :usage, :window, :executor, :tier, :stage, :pack, :trial, :remote, :reused, :crc
);

-- add_quote --
-- Keep what a run was said to cost.
insert into quotes (run_id, quote) values (:run_id, :quote);

-- quote_of --
-- What a run was said to cost.
select quote from quotes where run_id = :run_id;

-- run_by_id --
-- One run.
select * from runs where id = :id;

-- run_ids --
-- All runs there are.
select id from runs;

-- runs_by_start --
-- The runs whose id starts with these characters, the one that has no others first.
select * from runs where substr(id, 1, length(:start)) = :start
order by id <> :start, created_at desc limit 2;

-- latest_runs --
-- The newest runs.
select * from runs order by created_at desc, rowid desc limit :most;

-- run_by_fingerprint --
-- The newest run of exactly this data, prompt, schema, model and parameters.
select * from runs where fingerprint = :fingerprint order by created_at desc, rowid desc limit 1;

-- run_by_source --
-- The newest run of this source, whatever was asked of it.
select * from runs where source = :source order by created_at desc, rowid desc limit 1;

-- batches_of_run --
-- The batches of a run, in the order they were planned.
select * from batches where run_id = :run_id order by wave, part;

-- claim_batch --
-- Become the owner of a batch, unless somebody has been since we looked.
update batches
set owner = :owner, lease_until = :lease_until, token = token + 1, status = :status,
    window = :window
where id = :id and token = :token and status = :seen_status
  and owner is :seen_owner and lease_until is :seen_lease
returning *;

-- renew_lease --
-- Stay the owner, as long as nobody else has become it.
update batches set lease_until = :lease_until
where id = :id and token = :token and owner = :owner;

-- save_batch --
-- Commit progress under our token, in a status that may follow; refused if a newer one was given out.
update batches
set status = :status, journal = :journal, counts = :counts, copies = :copies, usage = :usage,
    window = :window, owner = :owner, lease_until = :lease_until, due = :due, remote = :remote
where id = :id and token = :token and instr(:may_follow, ' ' || status || ' ') > 0;

-- batch_by_id --
-- One batch.
select * from batches where id = :id;

-- save_retried --
-- Note which results of a batch a later wave takes over.
update batches set retried = :retried, copies_retried = :copies_retried where id = :id;

-- raise_wave --
-- Start the next wave, unless another process just did.
update runs set wave = :wave where id = :id and wave = :wave - 1 and state = 'open';

-- set_run_state --
-- Move a run from the state it was seen in.
update runs set state = :state, why = :why, ended_at = :ended_at, canary = :canary
where id = :id and state = :seen;

-- delete_run --
-- Forget a run with all its batches and events.
delete from runs where id = :id;

-- add_event --
-- One thing that happened to a run, unless it was deleted.
insert into events (run_id, at, name, fields)
select id, :at, :name, :fields from runs where id = :run_id;

-- events_of_run --
-- What happened to a run, in the order it was written down: a clock may be set back.
select at, name, fields from events
where run_id = :run_id and (:names = '' or instr(:names, ' ' || name || ' ') > 0)
order by rowid;

-- save_wishes --
-- Note what the caller may change of a run that is there.
update runs set canary = :canary, keep_remote = :keep_remote, terms = :terms, account = :account, crc = :crc
where id = :id;

-- give_up_batch --
-- Forget a batch of ours, which others take the place of.
delete from batches where id = :id and token = :token and counts = '{}';

-- last_part --
-- The highest place among the batches of a wave.
select coalesce(max(part), -1) as part from batches where run_id = :run_id and wave = :wave;

-- waiting_elsewhere --
-- What batches of other runs wait in a queue at a provider, but for those that nobody came back to.
select count(*) as batches, coalesce(sum(batches.size), 0) as requests,
       coalesce(sum(batches.tokens), 0) as tokens
from batches join runs on runs.id = batches.run_id
where batches.status in ('submitting', 'running') and batches.executor = 'batch'
  and json_extract(batches.remote, '$.sent_at') > :since and batches.run_id <> :but
  and coalesce(runs.account, '') = :account
  and json_extract(runs.spec, '$.provider') = :provider
  and coalesce(json_extract(runs.spec, '$.model'), '') = :model;

-- add_timing --
-- How long one batch was in a phase.
insert into timings (provider, account, model, phase, seconds)
values (:provider, :account, :model, :phase, :seconds);

-- trim_timings --
-- Keep the newest of a phase.
delete from timings
where provider = :provider and account = :account and model = :model and phase = :phase
  and rowid <= (
      select rowid from timings
      where provider = :provider and account = :account and model = :model and phase = :phase
      order by rowid desc limit 1 offset :kept
  );

-- timings_of_queue --
-- How long the latest batches were in each phase.
select phase, seconds from timings
where provider = :provider and account = :account and model = :model order by rowid;

-- learn_quota --
-- What was learned last of a limit stands.
insert into quotas (provider, account, model, measure, ceiling, said, named, learned_at)
values (:provider, :account, :model, :measure, :ceiling, :said, :named, :learned_at)
on conflict (provider, account, model, measure) do update
set ceiling = :ceiling, said = :said, named = :named, learned_at = :learned_at;

-- quotas_of_queue --
-- The limits that were learned of a queue.
select measure, ceiling, said, named, learned_at from quotas
where provider = :provider and account = :account and model = :model order by measure;
