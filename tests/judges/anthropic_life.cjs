// A whole batch life at Anthropic's API, told by the official SDK in JavaScript: anthropic_life.py, step by step.

const Anthropic = require("@anthropic-ai/sdk");
const { address, listed, numbered, once, raised, report, same, sorted } = require("./reporting.cjs");

const row = (name, prompt = "hi", most = 64) => ({
  custom_id: name,
  params: { model: "claude-x", max_tokens: most, messages: [{ role: "user", content: prompt }] },
});

const create = (client, ...rows) =>
  client.messages.batches.create({ requests: rows.length ? rows : [row("a")] });

/** Every status that was seen, and the batch at its end. */
async function untilOver(client, batch) {
  const statuses = [batch.processing_status];
  while (batch.processing_status !== "ended") {
    batch = await client.messages.batches.retrieve(batch.id);
    statuses.push(batch.processing_status);
  }
  return [statuses, batch];
}

async function results(client, batch) {
  const lines = await listed(client.messages.batches.results(batch.id));
  return Object.fromEntries(lines.map((line) => [line.custom_id, line.result]));
}

const of = (found, say) => Object.fromEntries(Object.entries(found).map(([name, one]) => [name, say(one)]));

async function life(client) {
  const { batches } = client.messages;
  const rows = [...numbered(5, (n) => row(`r${n}`, `prompt ${n}`)), row("bad", "fail"), row("late", "expire")];
  const created = await batches.create({ requests: rows });
  const tooEarly = await raised(() => batches.results(created.id));
  const [statuses, batch] = await untilOver(client, created);
  const found = await results(client, batch);
  const well = Object.fromEntries(Object.entries(found).filter(([, one]) => one.type === "succeeded"));
  return {
    "too early": tooEarly.class.slice(0, 1),
    statuses,
    counts: batch.request_counts,
    hours: (new Date(batch.expires_at) - new Date(batch.created_at)) / 3_600_000,
    ended: batch.ended_at !== null,
    types: of(found, (one) => one.type),
    said: of(well, (one) => one.message.content[0].text),
    used: Object.values(well).every((one) => one.message.usage.output_tokens > 0),
    stopped: sorted(new Set(Object.values(well).map((one) => one.message.stop_reason))),
    error: found.bad.error.error.type,
    deleted: (await batches.delete(batch.id)).type,
    gone: await raised(() => batches.retrieve(batch.id)),
  };
}

async function large(client) {
  const filler = "x".repeat(40_000);
  const rows = numbered(200, (n) => row(`r${n}`, `${filler} ${n}`, 50_000));
  const [, batch] = await untilOver(client, await create(client, ...rows));
  const names = [];
  let bytes = 0;
  for await (const line of await client.messages.batches.results(batch.id)) {
    names.push(line.custom_id);
    bytes += line.result.message.content[0].text.length;
  }
  return { names: new Set(names).size, once: once(names), "all of it": bytes > 8e6 };
}

async function pages(client) {
  const { batches } = client.messages;
  const made = [];
  for (let n = 0; n < 3; n += 1) made.push((await create(client)).id);
  const all = (await listed(batches.list({ limit: 1 }))).map((batch) => batch.id);
  const before = (await listed(batches.list({ limit: 1, before_id: made[0] }))).map((batch) => batch.id);
  return {
    listed: same(all.slice(0, 3), [...made].reverse()),
    once: once(all),
    before: same(sorted(before), sorted(made.slice(1))),
  };
}

async function cancel(client) {
  const { id } = await create(client, row("a", "wait"), row("b", "wait"));
  const asked = await client.messages.batches.cancel(id);
  const [statuses, batch] = await untilOver(client, asked);
  return {
    statuses,
    types: of(await results(client, batch), (one) => one.type),
    asked: batch.cancel_initiated_at !== null,
  };
}

async function too_early(client) {
  const { id } = await create(client);
  return raised(() => client.messages.batches.delete(id));
}

async function too_late(client) {
  const [, batch] = await untilOver(client, await create(client));
  return raised(() => client.messages.batches.cancel(batch.id));
}

/** The way the SDK went while batches were on trial. */
async function old_client(client) {
  const { batches } = client.beta.messages;
  const asked = { requests: [row("a")], betas: ["message-batches-2024-09-24"] };
  let batch = await batches.create(asked);
  while (batch.processing_status !== "ended") batch = await batches.retrieve(batch.id);
  const [line] = await listed(batches.results(batch.id));
  return line.result.type;
}

/** `temperature` went with the version of 2026-10-21 and is there with the one before. */
async function old_version(client) {
  const heated = row("a");
  heated.params.temperature = 0.5;
  const versions = {};
  for (const version of ["2023-06-01", "2026-10-21"]) {
    const at = client.withOptions({ defaultHeaders: { "anthropic-version": version } });
    const [, batch] = await untilOver(at, await create(at, heated));
    versions[version] = (await results(at, batch)).a.type;
  }
  return versions;
}

async function refused(client) {
  const { batches } = client.messages;
  return {
    empty: await raised(() => batches.create({ requests: [] })),
    name: await raised(() => batches.create({ requests: [row("a b")] })),
    twice: await raised(() => batches.create({ requests: [row("a"), row("a")] })),
    key: await raised(() => client.withOptions({ apiKey: "sk-wrong" }).messages.batches.list()),
  };
}

/** What becomes of a look at a batch that the service answers in so many ways. */
async function errors(client) {
  const { batches } = client.withOptions({ maxRetries: 0 }).messages;
  const words = ["400", "401", "403", "404", "409", "413", "422", "429", "500", "503", "529"];
  const found = {};
  for (const word of [...words, "cut", "half"])
    found[word] = await raised(() => batches.retrieve(`say-${word}`));
  found.late = await raised(() => batches.retrieve("say-late", {}, { timeout: 300 }));
  return found;
}

/** Its answer is lost, and the SDK sends the creation once more. */
async function tried_again(client) {
  return (await create(client, row("tried-again"))).processing_status;
}

async function call(client) {
  const messages = [{ role: "user", content: "hi" }];
  const message = await client.messages.create({ model: "claude-x", max_tokens: 9, messages });
  return message.content[0].text;
}

async function version() {
  return require("@anthropic-ai/sdk/version").VERSION;
}

const STEPS = [
  version, life, large, pages, cancel, too_early, too_late, old_client, old_version, refused, errors,
  tried_again, call,
];

report(new Anthropic({ baseURL: address, apiKey: "sk-judge" }), STEPS);
