// A whole batch life at Gemini's Developer API, told by the official SDK in JavaScript: gemini_life.py, step by step.

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { GoogleGenAI } = require("@google/genai");
const { address, jsonLines, listed, numbered, once, raised, report, same, sorted } = require("./reporting.cjs");

const KEY = "sk-judge";
const [MODEL, EMBEDDER] = ["gemini-x", "embedder"];
const OVER = ["SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"];

const ask = (prompt = "hi") => ({ contents: [{ role: "user", parts: [{ text: prompt }] }] });
const embedding = (text) => ({ content: { parts: [{ text }] } });

function upload(client, rows) {
  const content = rows.map((row) => JSON.stringify(row) + "\n").join("");
  const config = { mimeType: "application/jsonl", displayName: "mine" };
  return client.files.upload({ file: new Blob([content], { type: config.mimeType }), config });
}

const create = (client, src = [ask()], name = "ours") =>
  client.batches.create({ model: MODEL, src, config: { displayName: name } });

const word = (batch) => batch.state.replace("JOB_STATE_", "");

/** Every state that was seen, and the batch at its end. */
async function untilOver(client, batch) {
  const states = [word(batch)];
  while (!OVER.includes(word(batch))) {
    batch = await client.batches.get({ name: batch.name });
    states.push(word(batch));
  }
  return [states, batch];
}

async function lines(client, batch) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "judge-"));
  try {
    const downloadPath = path.join(folder, "results.jsonl");
    await client.files.download({ file: batch.dest.fileName, downloadPath });
    return jsonLines(fs.readFileSync(downloadPath, "utf8"));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

const text = (line) => line.response.candidates[0].content.parts[0].text;

async function life(client) {
  const rows = numbered(5, (n) => ({ key: `r${n}`, request: ask(`prompt ${n}`) }));
  const file = await upload(client, [...rows, { key: "bad", request: ask("fail") }]);
  const [states, batch] = await untilOver(client, await create(client, file.name));
  const found = await lines(client, batch);
  await client.batches.delete({ name: batch.name });
  await client.files.delete({ name: file.name });
  const well = found.filter((line) => line.response);
  const ill = found.filter((line) => !line.response);
  return {
    states,
    name: batch.displayName,
    model: batch.model,
    times: batch.createTime <= batch.updateTime && batch.updateTime <= batch.endTime,
    said: Object.fromEntries(well.map((line) => [line.key, text(line)])),
    errors: Object.fromEntries(ill.map((line) => [line.key, line.error.code])),
    gone: await raised(() => client.batches.get({ name: batch.name })),
    "file gone": await raised(() => client.files.get({ name: file.name })),
  };
}

async function inline(client) {
  const [, batch] = await untilOver(client, await create(client, [ask("a"), ask("fail"), ask("b")]));
  return batch.dest.inlinedResponses.map((each) => (each.response ? text(each) : each.error.code));
}

/** Rows that carry a key come back with it. */
async function named(client) {
  const rows = ["a", "b"].map((prompt) => ({ ...ask(prompt), metadata: { key: prompt } }));
  const [, batch] = await untilOver(client, await create(client, rows));
  return batch.dest.inlinedResponses.map((each) => [each.metadata.key, text(each)]);
}

async function embeddings(client) {
  const contents = ["a", "b"].map((text) => ({ parts: [{ text }] }));
  const src = { inlinedRequests: { contents } };
  const created = await client.batches.createEmbeddings({ model: EMBEDDER, src });
  const [, batch] = await untilOver(client, created);
  return batch.dest.inlinedEmbedContentResponses.map((each) => each.response.embedding.values.length > 0);
}

async function embeddings_from_a_file(client) {
  const rows = ["a", "b"].map((name) => ({ key: name, request: embedding(name) }));
  const src = { fileName: (await upload(client, rows)).name };
  const created = await client.batches.createEmbeddings({ model: EMBEDDER, src });
  const [, batch] = await untilOver(client, created);
  const found = await lines(client, batch);
  return Object.fromEntries(found.map((line) => [line.key, line.response.embedding.values.length > 0]));
}

async function pages(client) {
  const [made, uploaded] = [[], []];
  for (let n = 0; n < 3; n += 1) made.unshift((await create(client)).name);
  const batches = (await listed(client.batches.list({ config: { pageSize: 1 } }))).map((batch) => batch.name);
  const rows = [{ key: "a", request: ask() }];
  for (let n = 0; n < 3; n += 1) uploaded.push((await upload(client, rows)).name);
  const files = (await listed(client.files.list({ config: { pageSize: 2 } }))).map((file) => file.name);
  return {
    batches: same(batches.slice(0, 3), made),
    once: once(batches),
    files: uploaded.every((name) => files.includes(name)) && once(files),
  };
}

async function cancel(client) {
  const created = await create(client, [ask("wait")]);
  await client.batches.cancel({ name: created.name });
  return (await untilOver(client, created))[0];
}

async function too_late(client) {
  const [, batch] = await untilOver(client, await create(client));
  return raised(() => client.batches.cancel({ name: batch.name }));
}

async function file(client) {
  const made = await upload(client, [{ key: "a", request: ask() }]);
  const there = await client.files.get({ name: made.name });
  return {
    name: there.displayName,
    state: there.state,
    source: there.source,
    type: there.mimeType,
    bytes: there.sizeBytes === made.sizeBytes && Number(made.sizeBytes) > 0,
    hours: (new Date(there.expirationTime) - new Date(there.createTime)) / 3_600_000,
  };
}

/** More than the SDK sends in one piece. */
async function big_file(client) {
  const filler = "x".repeat(3_000_000);
  const rows = numbered(4, (n) => ({ key: `r${n}`, request: ask(filler + n) }));
  const made = await upload(client, rows);
  const [, batch] = await untilOver(client, await create(client, made.name));
  const keys = sorted((await lines(client, batch)).map((line) => line.key));
  return { bytes: Number(made.sizeBytes), keys };
}

/** A file that holds no rows. */
async function unreadable(client) {
  const config = { mimeType: "application/jsonl" };
  const file = await client.files.upload({ file: new Blob(["what?\n"]), config });
  return (await untilOver(client, await create(client, file.name)))[0];
}

async function refused(client) {
  return {
    key: await raised(() => listed(clientOf("sk-wrong").batches.list())),
    file: await raised(() => client.batches.create({ model: MODEL, src: "files/nobody" })),
  };
}

/** What becomes of a look at a batch that the service answers in so many ways. */
async function errors(client) {
  const found = {};
  for (const word of ["400", "403", "404", "409", "429", "500", "503", "504", "cut", "half"])
    found[word] = await raised(() => client.batches.get({ name: `batches/say-${word}` }));
  const hurried = clientOf(KEY, { timeout: 300 });
  found.late = await raised(() => hurried.batches.get({ name: "batches/say-late" }));
  return found;
}

/** Its answer is lost, and the SDK has been told to send the creation once more. */
async function tried_again() {
  const again = clientOf(KEY, { retryOptions: { attempts: 2, initialDelay: 0.01 } });
  return word(await create(again, [ask("tried again")]));
}

async function call(client) {
  return (await client.models.generateContent({ model: MODEL, contents: "hi" })).text;
}

function clientOf(apiKey, options = {}) {
  return new GoogleGenAI({ apiKey, httpOptions: { baseUrl: address, ...options } });
}

async function version() {
  const main = require.resolve("@google/genai");
  return JSON.parse(fs.readFileSync(path.join(path.dirname(main), "../../package.json"))).version;
}

const STEPS = [
  version, life, inline, named, embeddings, embeddings_from_a_file, pages, cancel, too_late, file,
  big_file, unreadable, refused, errors, tried_again, call,
];

console.warn = () => {}; // it calls batches of embeddings an experiment
report(clientOf(KEY), STEPS);
