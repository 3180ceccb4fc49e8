-- add_file --
-- Write down a file that lies where it belongs. It takes no place that a deleted one had.
insert into files (rowid, id, owner, name, purpose, size, crc, created_at, expires_at)
select 1 + max(
    coalesce((select max(rowid) from files), 0), coalesce((select max(place) from files_gone), 0)
), :id, :owner, :name, :purpose, :size, :crc, :created_at, :expires_at;

-- file_by_id --
-- One file, as its owner sees it until its time is over.
select * from files
where id = :id and owner = :owner and (expires_at is null or expires_at > :now);

-- files_newest_first --
-- A page of an owner's files, behind the one with this number.
select * from files
where owner = :owner and rowid < :after and purpose in (select value from json_each(:purposes))
  and (expires_at is null or expires_at > :now)
order by rowid desc limit :most;

-- files_oldest_first --
-- The same from the other end.
select * from files
where owner = :owner and rowid > :after and purpose in (select value from json_each(:purposes))
  and (expires_at is null or expires_at > :now)
order by rowid limit :most;

-- place_of_file --
-- Where a file stands in its owner's list, or stood.
select rowid as place from files
where id = :id and owner = :owner and purpose in (select value from json_each(:purposes))
union all
select place from files_gone
where id = :id and owner = :owner and purpose in (select value from json_each(:purposes));

-- keep_place_of_file --
-- Where a file stood that is deleted now: who walks a list goes on from there.
insert into files_gone (place, id, owner, purpose, at)
select rowid, id, owner, purpose, :now from files where id = :id and owner = :owner;

-- forget_places --
-- Nobody goes on from there any more.
delete from files_gone where at <= :before;

-- delete_file --
-- Forget a file.
delete from files where id = :id and owner = :owner;

-- outlived_files --
-- Files whose time is over.
select * from files where expires_at is not null and expires_at <= :now limit :most;

-- file_ids --
-- All files there are.
select id from files;

-- add_upload --
-- Begin to take in a file in parts.
insert into uploads (
    id, owner, name, purpose, mime_type, size, kept_seconds, created_at, expires_at, status, file_id
) values (
    :id, :owner, :name, :purpose, :mime_type, :size, :kept_seconds, :created_at, :expires_at,
    :status, :file_id
);

-- upload_by_id --
-- One upload, as its owner sees it.
select * from uploads where id = :id and owner = :owner;

-- end_upload --
-- Take no more parts, unless that is so already.
update uploads set status = :status, file_id = :file_id where id = :id and status = 'pending';

-- outlived_uploads --
-- Uploads that nobody completed in time.
select * from uploads where status = 'pending' and expires_at <= :now limit :most;

-- add_upload_part --
-- One part of a file, as long as parts are taken.
insert into upload_parts (id, upload_id, size, created_at)
select :id, id, :size, :created_at from uploads where id = :upload_id and status = 'pending';

-- parts_of_upload --
-- What has arrived.
select * from upload_parts where upload_id = :upload_id order by rowid;

-- forget_parts --
-- The parts are in the file, or not wanted any more.
delete from upload_parts where upload_id = :upload_id;

-- upload_part_ids --
-- All parts there are.
select id from upload_parts;

-- add_order --
-- Accept what a client asks for.
insert into orders (
    id, owner, face, api, asked, input_file, input_size, created_at, expires_at, kept_seconds, trace,
    status, started_at, finishing_at, cancelling_at, ended_at, total, model, runs, problems,
    completed, failed, usage, output_file, error_file
) values (
    :id, :owner, :face, :api, :asked, :input_file, :input_size, :created_at, :expires_at,
    :kept_seconds, :trace, :status, :started_at, :finishing_at, :cancelling_at, :ended_at, :total, :model,
    :runs, :problems, :completed, :failed, :usage, :output_file, :error_file
);

-- order_by_id --
-- One order.
select * from orders where id = :id;

-- save_order --
-- Move an order on from the status it was seen in.
update orders
set status = :status, started_at = :started_at, finishing_at = :finishing_at,
    cancelling_at = :cancelling_at, ended_at = :ended_at, total = :total, model = :model,
    runs = :runs, problems = :problems, completed = :completed, failed = :failed, usage = :usage,
    output_file = :output_file, error_file = :error_file
where id = :id and status = :seen;

-- orders_newest_first --
-- A page of an owner's orders by one protocol, behind the one with this number.
select * from orders where owner = :owner and face = :face and rowid < :after
order by rowid desc limit :most;

-- orders_oldest_first --
-- The same from the other end.
select * from orders where owner = :owner and face = :face and rowid > :after
order by rowid limit :most;

-- place_of_order --
-- Where an order stands in its owner's list, or stood.
select rowid as place from orders
where id = :id and owner = :owner and face in (:face, 'deleted ' || :face);

-- open_orders --
-- What is not over yet, the oldest first.
select * from orders
where status in ('received', 'running', 'finishing', 'expiring', 'cancelling') order by rowid;

-- ended_orders --
-- Orders that ended before a moment and still have runs.
select * from orders where ended_at is not null and ended_at < :before and runs <> '[]'
limit :most;

-- forget_runs --
-- The runs of an order that has ended are gone.
update orders set runs = '[]' where id = :id and ended_at is not null;

-- delete_order --
-- An order that has ended is nobody's any more; what it has used still counts.
update orders set face = 'deleted ' || face, runs = '[]', asked = '{}', output_file = null, error_file = null
where id = :id and owner = :owner and face = :face and ended_at is not null;

-- note_answer --
-- What a call has made. Of calls by one name the latest stands.
insert into answers (owner, call, digest, made, at) values (:owner, :call, :digest, :made, :at)
on conflict (owner, call) do update set digest = :digest, made = :made, at = :at;

-- answer_to --
-- What a call has made that was not made too long ago.
select * from answers where owner = :owner and call = :call and at > :since;

-- forget_answer --
-- It has reached who asked: said again, the call makes another.
delete from answers where owner = :owner and call = :call;

-- forget_answers --
-- Nobody makes such an old call again.
delete from answers where at <= :before;

-- add_api_key --
-- Let somebody call.
insert into api_keys (
    id, owner, hash, made_at, revoked_at, weight, rpm, max_batches, tokens_a_day
) values (
    :id, :owner, :hash, :made_at, :revoked_at, :weight, :rpm, :max_batches, :tokens_a_day
);

-- api_keys --
-- All keys there were, the oldest first.
select * from api_keys order by rowid;

-- revoke_api_key --
-- Let nobody call with a key any more.
update api_keys set revoked_at = :at where id = :id and revoked_at is null;

-- tokens_used --
-- What was used of owners' tokens, and when.
select * from tokens_used order by at;

-- add_tokens_used --
-- More was used in a stretch of time.
insert into tokens_used (order_id, owner, at, tokens) values (:order_id, :owner, :at, :tokens)
on conflict (order_id, at) do update set tokens = tokens_used.tokens + :tokens;

-- forget_tokens_used --
-- What counts no more. Of open orders all stays: it says how much of them is counted.
delete from tokens_used where at < :before and order_id not in (
    select id from orders
    where status in ('received', 'running', 'finishing', 'expiring', 'cancelling')
);
