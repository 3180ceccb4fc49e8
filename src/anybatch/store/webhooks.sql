-- add_webhook_endpoint --
-- Let somebody hear of the end of orders. It takes no place that a deleted one had.
insert into webhook_endpoints (
    rowid, id, owner, name, url, event_types, created_at, updated_at, status, why, secret,
    old_secret, old_until, settled
)
select 1 + max(
    coalesce((select max(rowid) from webhook_endpoints), 0),
    coalesce((select max(place) from webhook_endpoints_gone), 0)
), :id, :owner, :name, :url, :event_types, :created_at, :updated_at, :status, :why, :secret,
    :old_secret, :old_until, :settled;

-- settle_webhook_endpoint --
-- One that the settings name is as they say, and enabled with each start.
insert into webhook_endpoints (
    id, owner, name, url, event_types, created_at, updated_at, status, settled
) values (
    :id, :owner, :name, :url, :event_types, :created_at, :updated_at, 'enabled', 1
)
on conflict (id) do update set
    name = :name, event_types = :event_types, updated_at = :updated_at, status = 'enabled', why = null;

-- change_webhook_endpoint --
-- What its owner says of it from now on.
update webhook_endpoints
set name = :name, url = :url, event_types = :event_types, updated_at = :updated_at,
    status = :status, why = :why, secret = :secret, old_secret = :old_secret,
    old_until = :old_until, rests_until = null
where id = :id;

-- disable_webhook_endpoint --
-- Send nothing there any more.
update webhook_endpoints set status = 'disabled', why = :why, updated_at = :at
where id = :id and status = 'enabled';

-- delete_webhook_endpoint --
-- Forget it, and all that was on its way there.
delete from webhook_endpoints where id = :id and owner = :owner and settled = 0;

-- webhook_endpoint_by_id --
-- One endpoint, whoever's it is.
select * from webhook_endpoints where id = :id;

-- webhook_endpoints --
-- All there are, the oldest first.
select * from webhook_endpoints order by rowid;

-- webhook_endpoints_of --
-- A page of those that an owner has made, behind the one with this number.
select * from webhook_endpoints where owner = :owner and settled = 0 and rowid < :after
order by rowid desc limit :most;

-- place_of_webhook_endpoint --
-- Where an endpoint stands in its owner's list, or stood.
select rowid as place from webhook_endpoints where id = :id and owner = :owner and settled = 0
union all
select place from webhook_endpoints_gone where id = :id and owner = :owner;

-- keep_place_of_webhook_endpoint --
-- Where one stood that is deleted now: who walks a list goes on from there.
insert into webhook_endpoints_gone (place, id, owner, at)
select rowid, id, owner, :now from webhook_endpoints
where id = :id and owner = :owner and settled = 0;

-- forget_places_of_webhook_endpoints --
-- Nobody goes on from there any more.
delete from webhook_endpoints_gone where at <= :before;

-- add_webhook_event --
-- Something is to be told.
insert into webhook_events (id, owner, type, subject, at)
values (:id, :owner, :type, :subject, :at) on conflict do nothing;

-- add_webhook_deliveries --
-- An event is to go to all who want to hear of it.
insert into webhook_deliveries (event_id, endpoint_id, status, tries, put_at, due_at)
select :event_id, id, 'waiting', 0, :at, :at from webhook_endpoints
where status = 'enabled' and (owner = :owner or owner is null)
  and exists (select 1 from json_each(event_types) where value = :type)
on conflict do nothing;

-- due_webhook_deliveries --
-- What is to be tried now: of each endpoint the oldest few, so that none takes all places.
select due.*, told.owner, told.type, told.subject, told.at
from webhook_endpoints as hears
cross join webhook_deliveries as due on due.rowid in (
    select rowid from webhook_deliveries
    where endpoint_id = hears.id and status = 'waiting' and due_at <= :now
    order by due_at limit :each
)
join webhook_events as told on told.id = due.event_id
where hears.rests_until is null or hears.rests_until <= :now
order by due.due_at limit :most;

-- note_webhook_delivery --
-- What became of a try, unless the delivery was given up or begun anew meanwhile.
update webhook_deliveries
set status = :status, tries = :tries, due_at = :due_at, tried_at = :tried_at,
    answered = :answered, why = :why
where event_id = :event_id and endpoint_id = :endpoint_id and tries = :seen
  and (status = 'waiting' or :status = 'delivered');

-- rest_webhook_endpoint --
-- Nothing goes to a busy endpoint before then.
update webhook_endpoints set rests_until = :until where id = :id;

-- give_up_webhook_deliveries --
-- What waits for an endpoint is not tried any more.
update webhook_deliveries set status = 'failed', why = :why
where endpoint_id = :endpoint_id and status = 'waiting';

-- webhook_deliveries_of --
-- A page of what went or goes to an endpoint, the newest first, behind the one with this number.
select gone.*, told.owner, told.type, told.subject, told.at
from webhook_deliveries as gone join webhook_events as told on told.id = gone.event_id
where gone.endpoint_id = :endpoint_id and gone.rowid < :after
order by gone.rowid desc limit :most;

-- place_of_webhook_delivery --
-- Where a delivery stands in its endpoint's list.
select rowid as place from webhook_deliveries
where event_id = :event_id and endpoint_id = :endpoint_id;

-- replay_failed_webhooks --
-- Send again what was given up.
update webhook_deliveries
set status = 'waiting', tries = 0, put_at = :now, due_at = :now, why = null
where status = 'failed' and (:endpoint_id is null or endpoint_id = :endpoint_id)
  and endpoint_id in (select id from webhook_endpoints where status = 'enabled')
returning event_id, endpoint_id;

-- replay_webhook_events --
-- Send events to all who want to hear of them, whatever became of that before.
insert into webhook_deliveries (event_id, endpoint_id, status, tries, put_at, due_at)
select told.id, heard.id, 'waiting', 0, :now, :now
from webhook_events as told
join webhook_endpoints as heard on heard.owner = told.owner or heard.owner is null
where heard.status = 'enabled' and (:endpoint_id is null or heard.id = :endpoint_id)
  and exists (select 1 from json_each(heard.event_types) where value = told.type)
  and (:since is null or told.at >= :since)
  and (:ids is null or told.id in (select value from json_each(:ids)))
on conflict do update
set status = 'waiting', tries = 0, put_at = :now, due_at = :now, why = null
returning event_id, endpoint_id;

-- webhook_event_ids --
-- Which of these events are kept.
select id from webhook_events where id in (select value from json_each(:ids));

-- webhook_counts --
-- How many deliveries of each endpoint are how far.
select endpoint_id, status, count(*) as count from webhook_deliveries group by endpoint_id, status;

-- webhook_backlog --
-- How much waits, and since when the oldest of it does.
select count(*) as count, min(put_at) as oldest from webhook_deliveries where status = 'waiting';

-- forget_webhook_events --
-- What is so old is not sent again, unless it is on its way.
delete from webhook_events where at < :before and not exists (
    select 1 from webhook_deliveries where event_id = webhook_events.id and status = 'waiting'
);
