-- What clients of our server gave and asked for. Their files lie beside the database, by their ids.

create table files (
    id         text primary key,
    owner      text not null,
    name       text not null,
    purpose    text not null,
    size       integer not null,
    crc        integer not null,
    created_at real not null,
    expires_at real
) strict;

create index files_by_owner on files (owner);
create index files_by_end on files (expires_at) where expires_at is not null;

create table uploads (
    id           text primary key,
    owner        text not null,
    name         text not null,
    purpose      text not null,
    mime_type    text not null,
    size         integer not null,
    kept_seconds integer,
    created_at   real not null,
    expires_at   real not null,
    status       text not null check (status in ('pending', 'completed', 'cancelled', 'expired')),
    file_id      text
) strict;

create table upload_parts (
    id         text primary key,
    upload_id  text not null references uploads (id) on delete cascade,
    size       integer not null,
    created_at real not null
) strict;

create index upload_parts_by_upload on upload_parts (upload_id);

create table orders (
    id            text primary key,
    owner         text not null,
    face          text not null,
    api           text not null,
    asked         text not null,
    input_file    text not null,
    input_size    integer not null,
    created_at    real not null,
    expires_at    real not null,
    kept_seconds  integer not null,
    status        text not null check (
        status in (
            'received', 'running', 'finishing', 'expiring', 'cancelling',
            'completed', 'failed', 'expired', 'cancelled'
        )
    ),
    started_at    real,
    finishing_at  real,
    cancelling_at real,
    ended_at      real,
    total         integer,
    model         text,
    runs          text not null,
    problems      text not null,
    completed     integer not null,
    failed        integer not null,
    usage         text not null,
    output_file   text,
    error_file    text
) strict;

create index orders_by_owner on orders (owner, face);
create index orders_open on orders (status)
    where status in ('received', 'running', 'finishing', 'expiring', 'cancelling');
create index orders_ended on orders (ended_at) where ended_at is not null;

-- What became of calls that may be made again: the same call gets the same answer.
create table answers (
    owner  text not null,
    call   text not null,
    digest text not null,
    made   text not null,
    at     real not null,
    primary key (owner, call)
) strict;

create index answers_by_age on answers (at);
