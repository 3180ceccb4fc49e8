-- Who may call our server: keys by their hashes. A revoked one stays, so that none is given out twice.

create table api_keys (
    id           text primary key,
    owner        text not null,
    hash         text not null unique,
    made_at      real not null,
    revoked_at   real,
    weight       integer not null check (weight > 0),
    rpm          integer,
    max_batches integer,
    tokens_a_day integer
) strict;
