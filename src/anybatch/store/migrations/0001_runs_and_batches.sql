-- Runs, their batches, and what happened to them. Moments are seconds since 1970, UTC. `crc` is taken
-- of those columns of a row that never change.

create table runs (
    id          text primary key,
    created_at  real not null,
    source      text not null,
    spec        text not null,
    fingerprint text not null,
    parts       text not null,
    columns     text not null,
    total       integer not null,
    skipped     integer not null,
    budgeted    integer not null,
    wave        integer not null,
    state       text not null check (state in ('open', 'stopped', 'cancelling', 'ended')),
    why         text,
    ended_at    real,
    canary      integer not null,
    account     text,
    crc         integer not null
) strict;

create index runs_by_fingerprint on runs (fingerprint, created_at);
create index runs_by_source on runs (source, created_at);

create table batches (
    id            text primary key,
    run_id        text not null references runs (id) on delete cascade,
    wave          integer not null,
    attempt       integer not null,
    part          integer not null,
    status        text not null check (
        status in ('planned', 'submitting', 'running', 'ended', 'collected', 'cleaned')
    ),
    first         integer not null,
    size          integer not null,
    ordered       integer not null,
    budget_factor integer not null,
    due           real,
    owner         text,
    lease_until   real,
    token         integer not null,
    journal       text not null,
    counts        text not null,
    retried       text not null,
    usage         text not null,
    window        integer not null,
    executor      text not null,
    remote        text,
    crc           integer not null,
    unique (run_id, wave, part)
) strict;

create table events (
    run_id text not null references runs (id) on delete cascade,
    at     real not null,
    name   text not null,
    fields text not null
) strict;

create index events_by_run on events (run_id);
