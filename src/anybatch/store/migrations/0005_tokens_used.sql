-- When orders have used how many of their owners' tokens, a stretch of time at a time.

create table tokens_used (
    order_id text not null,
    owner    text not null,
    at       real not null,
    tokens   integer not null,
    primary key (order_id, at)
) strict, without rowid;

create index tokens_used_by_age on tokens_used (at);

-- Of orders that are over it was known how many, and not when: at the latest when they ended.
insert into tokens_used (order_id, owner, at, tokens)
select id, owner, ended_at,
    coalesce(json_extract(usage, '$.tokens_in'), 0)
    + coalesce(json_extract(usage, '$.tokens_out'), 0)
from orders where ended_at is not null;
