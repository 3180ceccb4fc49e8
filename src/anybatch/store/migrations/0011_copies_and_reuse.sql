-- Rows that ask the same as another one, and answers that earlier runs had.

alter table runs add column copies integer not null default 0;
alter table runs add column reused integer not null default 0;

alter table batches add column copies text not null default '{}';
alter table batches add column copies_retried text not null default '{}';
alter table batches add column reused integer not null default 0;
