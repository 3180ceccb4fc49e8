-- What was learned of providers: how long their batches take, and how much may wait there. It belongs
-- to no run and outlives them all. `account` and `model` are '' where there is none.

alter table runs add column keep_remote integer not null default 0;

alter table batches add column tokens integer not null default 0;

-- Those that wait at a provider are few among all that ever did.
create index batches_waiting on batches (run_id) where status in ('submitting', 'running');

create table timings (
    provider text not null,
    account  text not null,
    model    text not null,
    phase    text not null,
    seconds  real not null
) strict;

create index timings_by_queue on timings (provider, account, model, phase);

create table quotas (
    provider   text not null,
    account    text not null,
    model      text not null,
    measure    text not null check (measure in ('tokens', 'requests', 'batches')),
    ceiling    integer not null,
    said       integer,
    named      integer not null,
    learned_at real not null,
    primary key (provider, account, model, measure)
) strict;
