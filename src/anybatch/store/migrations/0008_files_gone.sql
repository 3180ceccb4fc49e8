-- Where files stood in the lists of their owners that are deleted: who walks a list goes on from there.

create table files_gone (
    place   integer primary key,
    id      text not null unique,
    owner   text not null,
    purpose text not null,
    at      real not null
) strict;

create index files_gone_by_age on files_gone (at);
