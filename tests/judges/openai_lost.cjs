// What OpenAI's SDK in JavaScript does when an answer is lost: openai_lost.py, kind by kind.

const OpenAI = require("openai");
const { address, listed, lost, patience, raised } = require("./reporting.cjs");

const body = { model: "m", messages: [{ role: "user", content: "hi" }] };
const row = { custom_id: "a", method: "POST", url: "/v1/chat/completions", body };
const ROW = Buffer.from(JSON.stringify(row) + "\n");
const ABOUT = { filename: "in.jsonl", mime_type: "application/jsonl", purpose: "batch" };

const upload = async (client) =>
  client.files.create({ file: await OpenAI.toFile(ROW, "in.jsonl"), purpose: "batch" });

async function batch(client) {
  const { id } = await upload(client);
  const asked = { input_file_id: id, endpoint: "/v1/chat/completions", completion_window: "24h" };
  const error = await raised(() => client.batches.create(asked));
  return [error, (await listed(client.batches.list())).length];
}

async function file(client) {
  return [await raised(() => upload(client)), (await listed(client.files.list())).length];
}

/** An upload takes no more than was announced: a part that is there twice is refused. */
async function part(client) {
  const begun = await client.uploads.create({ bytes: ROW.length, ...ABOUT });
  const ids = [];
  const error = await raised(async () => {
    const data = await OpenAI.toFile(ROW);
    ids.push((await client.uploads.parts.create(begun.id, { data })).id);
  });
  await client.uploads.complete(begun.id, { part_ids: ids });
  return [error, ids.length];
}

const clientOf = (owner) =>
  new OpenAI({ baseURL: `${address}/v1`, apiKey: owner, timeout: patience(owner) });

lost(clientOf, { batch, file, part });
