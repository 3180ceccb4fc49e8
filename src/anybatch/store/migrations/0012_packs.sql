-- How many requests of a batch go out as one call, and whether that is only tried.

alter table batches add column pack integer not null default 1;
alter table batches add column trial integer not null default 0;
