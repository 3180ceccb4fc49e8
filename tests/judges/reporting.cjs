// What the judges' scripts in JavaScript share: the same words as in reporting.py.

const FAULTS = ["reset", "timeout", "408", "500", "502", "503", "504"];
const AT_ONCE = 12;

/** Print what each step saw, or how it failed, as one JSON object. */
async function report(client, steps) {
  const told = {};
  for (const step of steps) told[step.name] = await seen(step, client);
  console.log(JSON.stringify(told));
}

async function seen(step, client) {
  try {
    return await step(client);
  } catch (error) {
    return { failed: String(error.stack) };
  }
}

/** What an SDK makes of an error: its class, those above it, and what it knows of it. */
async function raised(call) {
  try {
    await call();
  } catch (error) {
    return {
      class: kinds(error),
      status: error.status ?? null,
      code: error.code ?? null,
      param: error.param ?? null,
      named: error.requestID != null,
      message: error.message,
    };
  }
  return { class: [] };
}

function kinds(error) {
  const names = [];
  for (let kind = error.constructor; kind.name; kind = Object.getPrototypeOf(kind)) names.push(kind.name);
  return names;
}

async function listed(pages) {
  const found = [];
  for await (const each of await pages) found.push(each);
  return found;
}

/** Print what became of a call of each kind whose answer was lost in each way. */
async function lost(clientOf, kinds) {
  const owners = Object.keys(kinds).flatMap((kind) => FAULTS.map((fault) => `${kind}-${fault}`));
  const cell = async (owner) => {
    const [error, there] = await kinds[owner.split("-")[0]](clientOf(owner));
    return { raised: error.class.slice(0, 1), there };
  };
  const [told, left] = [{}, [...owners]];
  const worker = async () => {
    for (let owner = left.shift(); owner; owner = left.shift()) told[owner] = await seen(cell, owner);
  };
  await Promise.all(numbered(AT_ONCE, worker));
  console.log(JSON.stringify(told));
}

/** How long an answer is waited for, in milliseconds: long, where it is not to be waited for in vain. */
const patience = (owner) => (owner.endsWith("timeout") ? 5_000 : 30_000);

const numbered = (count, make) => Array.from({ length: count }, (_, n) => make(n));

const address = process.argv[2];
const jsonLines = (text) => text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
const sorted = (names) => [...names].sort();
const same = (some, others) => JSON.stringify(some) === JSON.stringify(others);
const once = (names) => new Set(names).size === names.length;

module.exports = {
  address, jsonLines, listed, lost, numbered, once, patience, raised, report, same, sorted,
};
