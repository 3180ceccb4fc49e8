-- Which trace an order belongs to: the W3C traceparent of the call that asked for it.

alter table orders add column trace text;
