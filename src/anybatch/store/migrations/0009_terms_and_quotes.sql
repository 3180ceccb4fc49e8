-- What is asked of a run besides its answers, at which price its batches go out and in which order,
-- and what it was said to cost.

alter table runs add column terms text not null default '{}';

alter table batches add column tier text;
alter table batches add column stage integer not null default 0;

create table quotes (
    run_id text primary key references runs (id) on delete cascade,
    quote  text not null
) strict;
