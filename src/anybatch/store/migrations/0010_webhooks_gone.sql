-- Where webhook endpoints stood in the lists of their owners that are deleted: as with files.

create table webhook_endpoints_gone (
    place integer primary key,
    id    text not null unique,
    owner text not null,
    at    real not null
) strict;

create index webhook_endpoints_gone_by_age on webhook_endpoints_gone (at);
