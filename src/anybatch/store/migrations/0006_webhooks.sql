-- Who wants to hear of the end of orders, what there is to tell, and how far that has come.

create table webhook_endpoints (
    id          text primary key,
    owner       text,
    name        text not null,
    url         text not null,
    event_types text not null,
    created_at  real not null,
    updated_at  real not null,
    status      text not null check (status in ('enabled', 'disabled')),
    why         text,
    secret      text,
    old_secret  text,
    old_until   real,
    rests_until real,
    settled     integer not null check (settled in (0, 1))
) strict;

create index webhook_endpoints_by_owner on webhook_endpoints (owner);

create table webhook_events (
    id      text primary key,
    owner   text not null,
    type    text not null,
    subject text not null,
    at      real not null
) strict;

create index webhook_events_by_age on webhook_events (at);

create table webhook_deliveries (
    event_id    text not null references webhook_events (id) on delete cascade,
    endpoint_id text not null references webhook_endpoints (id) on delete cascade,
    status      text not null check (status in ('waiting', 'delivered', 'failed')),
    tries       integer not null,
    put_at      real not null,
    due_at      real not null,
    tried_at    real,
    answered    integer,
    why         text,
    primary key (event_id, endpoint_id)
) strict;

create index webhook_deliveries_by_endpoint on webhook_deliveries (endpoint_id);
create index webhook_deliveries_due on webhook_deliveries (endpoint_id, due_at)
    where status = 'waiting';
create index webhook_deliveries_waiting on webhook_deliveries (put_at) where status = 'waiting';
