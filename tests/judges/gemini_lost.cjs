// What Google's SDK in JavaScript does when an answer is lost: gemini_lost.py, kind by kind.

const { GoogleGenAI } = require("@google/genai");
const { address, listed, lost, patience, raised } = require("./reporting.cjs");

const AGAIN = { attempts: 3, initialDelay: 0.01 };
const request = { contents: [{ role: "user", parts: [{ text: "hi" }] }] };

async function batch(client, config = {}) {
  const asked = { model: "gemini-x", src: [request], config };
  const error = await raised(() => client.batches.create(asked));
  return [error, (await listed(client.batches.list())).length];
}

/** The creation has a name, which its user chose. */
const named = (client) => batch(client, { httpOptions: { headers: { "Idempotency-Key": "mine" } } });

async function file(client) {
  const content = new Blob([JSON.stringify({ key: "a", request }) + "\n"]);
  const config = { mimeType: "application/jsonl" };
  const error = await raised(() => client.files.upload({ file: content, config }));
  return [error, (await listed(client.files.list())).length];
}

function clientOf(owner) {
  const again = /^(again|named|early)/.test(owner) ? { retryOptions: AGAIN } : {};
  const httpOptions = { baseUrl: address, timeout: patience(owner), ...again };
  return new GoogleGenAI({ apiKey: owner, httpOptions });
}

lost(clientOf, { batch, again: batch, named, early: batch, start: file, data: file });
