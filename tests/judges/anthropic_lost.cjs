// What Anthropic's SDK in JavaScript does when an answer is lost: anthropic_lost.py again.

const Anthropic = require("@anthropic-ai/sdk");
const { address, listed, lost, patience, raised } = require("./reporting.cjs");

const params = { model: "m", max_tokens: 9, messages: [{ role: "user", content: "hi" }] };

async function batch(client) {
  const requests = [{ custom_id: "a", params }];
  const error = await raised(() => client.messages.batches.create({ requests }));
  return [error, (await listed(client.messages.batches.list())).length];
}

const clientOf = (owner) =>
  new Anthropic({ baseURL: address, apiKey: owner, timeout: patience(owner) });

lost(clientOf, { batch });
