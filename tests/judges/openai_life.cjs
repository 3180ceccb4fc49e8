// A whole batch life at OpenAI's API, told by the official SDK in JavaScript: openai_life.py, step by step.

const OpenAI = require("openai");
const { address, jsonLines, listed, numbered, once, raised, report, same } = require("./reporting.cjs");

const CHAT = "/v1/chat/completions";
const OVER = ["completed", "failed", "expired", "cancelled"];

const chat = (name, prompt = "hi") => ({
  custom_id: name,
  method: "POST",
  url: CHAT,
  body: { model: "m", messages: [{ role: "user", content: prompt }] },
});

const embedding = (name, text) => ({
  custom_id: name,
  method: "POST",
  url: "/v1/embeddings",
  body: { model: "m", input: text },
});

async function upload(client, rows, more = {}) {
  const content = Buffer.from(rows.map((row) => JSON.stringify(row) + "\n").join(""));
  const file = await OpenAI.toFile(content, "in.jsonl");
  return client.files.create({ file, purpose: "batch", ...more });
}

async function create(client, rows, endpoint = CHAT, more = {}) {
  const file = await upload(client, rows);
  return client.batches.create({ input_file_id: file.id, endpoint, completion_window: "24h", ...more });
}

/** Every status that was seen, and the batch at its end. */
async function untilOver(client, batch) {
  const statuses = [batch.status];
  while (!OVER.includes(batch.status)) {
    batch = await client.batches.retrieve(batch.id);
    statuses.push(batch.status);
  }
  return [statuses, batch];
}

async function lines(client, fileId) {
  return fileId ? jsonLines(await (await client.files.content(fileId)).text()) : [];
}

const said = (line) => line.response.body.choices[0].message.content;

async function life(client) {
  const rows = [...numbered(5, (n) => chat(`r${n}`, `prompt ${n}`)), chat("bad", "fail")];
  const created = await create(client, rows, CHAT, { metadata: { of: "life" } });
  const [statuses, batch] = await untilOver(client, created);
  const results = await lines(client, batch.output_file_id);
  const errors = await lines(client, batch.error_file_id);
  const deleted = [];
  for (const file of [batch.input_file_id, batch.output_file_id, batch.error_file_id])
    deleted.push((await client.files.delete(file)).deleted);
  return {
    statuses,
    metadata: batch.metadata,
    counts: batch.request_counts,
    tokens: batch.usage.total_tokens,
    hours: (batch.expires_at - batch.created_at) / 3600,
    said: Object.fromEntries(results.map((line) => [line.custom_id, said(line)])),
    errors: Object.fromEntries(errors.map((line) => [line.custom_id, line.response.status_code])),
    deleted,
    gone: await raised(() => client.files.retrieve(batch.output_file_id)),
  };
}

async function large(client) {
  const filler = "x".repeat(40_000);
  const rows = numbered(200, (n) => chat(`r${n}`, `${filler} ${n}`));
  const [, batch] = await untilOver(client, await create(client, rows));
  const response = await client.files.content(batch.output_file_id);
  const names = [];
  let [bytes, pieces, rest] = [0, 0, ""];
  for await (const piece of response.body) {
    bytes += piece.length;
    pieces += 1;
    const parts = (rest + Buffer.from(piece).toString("latin1")).split("\n");
    rest = parts.pop();
    for (const line of parts) names.push(JSON.parse(line).custom_id);
  }
  return { names: new Set(names).size, once: once(names), "all of it": bytes > 8e6, "in pieces": pieces > 1 };
}

async function expiry(client) {
  const [, batch] = await untilOver(client, await create(client, [chat("a"), chat("late", "expire")]));
  const [line] = await lines(client, batch.error_file_id);
  return { custom_id: line.custom_id, code: line.error.code };
}

async function pages(client) {
  const [made, uploaded] = [[], []];
  for (let n = 0; n < 3; n += 1) made.unshift((await create(client, [chat("a")])).id);
  const batches = (await listed(client.batches.list({ limit: 1 }))).map((batch) => batch.id);
  for (let n = 0; n < 3; n += 1) uploaded.unshift((await upload(client, [chat("a")])).id);
  const asked = { limit: 2, order: "desc", purpose: "batch" };
  const files = (await listed(client.files.list(asked))).map((file) => file.id);
  return {
    batches: same(batches.slice(0, 3), made),
    once: once(batches),
    files: same(files.slice(0, 3), uploaded),
  };
}

async function cancel(client) {
  const asked = await client.batches.cancel((await create(client, [chat("a", "wait")])).id);
  const [statuses, batch] = await untilOver(client, asked);
  return { statuses, again: (await client.batches.cancel(batch.id)).status };
}

async function too_late(client) {
  const [, batch] = await untilOver(client, await create(client, [chat("a")]));
  return raised(() => client.batches.cancel(batch.id));
}

async function file(client) {
  const made = await upload(client, [chat("a")]);
  const there = await client.files.waitForProcessing(made.id);
  return { name: there.filename, status: there.status, bytes: there.bytes === made.bytes };
}

async function lifetime(client) {
  const after = { anchor: "created_at", seconds: 3600 };
  const made = await upload(client, [chat("a")], { expires_after: after });
  return made.expires_at - made.created_at;
}

async function parts(client) {
  const content = Buffer.from(JSON.stringify(chat("a")) + "\n");
  const begun = await client.uploads.create({
    bytes: content.length, filename: "in.jsonl", mime_type: "application/jsonl", purpose: "batch",
  });
  const ids = [];
  for (const data of [content.subarray(0, 9), content.subarray(9)]) {
    const part = await client.uploads.parts.create(begun.id, { data: await OpenAI.toFile(data) });
    ids.push(part.id);
  }
  const done = await client.uploads.complete(begun.id, { part_ids: ids });
  const given = await (await client.files.content(done.file.id)).text();
  const other = await client.uploads.create({
    bytes: 1, filename: "in.jsonl", mime_type: "application/jsonl", purpose: "batch",
  });
  return {
    status: done.status,
    same: given === content.toString(),
    cancelled: (await client.uploads.cancel(other.id)).status,
  };
}

async function embeddings(client) {
  const rows = [embedding("a", "x"), embedding("b", "y")];
  const [, batch] = await untilOver(client, await create(client, rows, "/v1/embeddings"));
  const results = await lines(client, batch.output_file_id);
  return Object.fromEntries(
    results.map((line) => [line.custom_id, line.response.body.data[0].embedding.length > 0]),
  );
}

async function refused_lines(client) {
  const [statuses, batch] = await untilOver(client, await create(client, [chat("a"), chat("a")]));
  const [problem] = batch.errors.data;
  return { statuses, code: problem.code, line: problem.line };
}

async function refused_file(client) {
  const asked = { input_file_id: "file-none", endpoint: CHAT, completion_window: "24h" };
  const [, batch] = await untilOver(client, await client.batches.create(asked));
  const [problem] = batch.errors.data;
  return { code: problem.code, param: problem.param, line: problem.line };
}

async function refused(client) {
  const asked = { input_file_id: "f", endpoint: "/v1/fun", completion_window: "24h" };
  const text = await OpenAI.toFile(Buffer.from("x"), "in.txt");
  return {
    endpoint: await raised(() => client.batches.create(asked)),
    file: await raised(() => client.files.create({ file: text, purpose: "batch" })),
    key: await raised(() => client.withOptions({ apiKey: "sk-wrong" }).batches.list()),
  };
}

/** What becomes of a look at a batch that the service answers in so many ways. */
async function errors(client) {
  const once = client.withOptions({ maxRetries: 0 });
  const found = {};
  for (const word of ["400", "401", "403", "404", "409", "422", "429", "500", "503", "cut", "half"])
    found[word] = await raised(() => once.batches.retrieve(`say-${word}`));
  found.late = await raised(() => once.batches.retrieve("say-late", { timeout: 300 }));
  return found;
}

/** Its answer is lost, and the SDK sends the creation once more. */
async function tried_again(client) {
  return (await create(client, [chat("a")], CHAT, { metadata: { of: "tried again" } })).status;
}

async function calls(client) {
  const turn = { model: "m", messages: [{ role: "user", content: "hi" }] };
  const answer = await client.chat.completions.create(turn);
  const vectors = await client.embeddings.create({ model: "m", input: "hi" });
  const response = await client.responses.create({ model: "m", input: "hi" });
  return {
    chat: answer.choices[0].message.content,
    responses: response.output_text,
    embeddings: vectors.data[0].embedding.length > 0,
    models: (await listed(client.models.list())).map((model) => model.id),
  };
}

async function version() {
  return require("openai/version").VERSION;
}

const STEPS = [
  version, life, large, expiry, pages, cancel, too_late, file, lifetime, parts, embeddings,
  refused_lines, refused_file, refused, errors, tried_again, calls,
];

report(new OpenAI({ baseURL: `${address}/v1`, apiKey: "sk-judge" }), STEPS);
