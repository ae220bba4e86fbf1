// transcript.js -- what a client was told, as lines of JSON: equal from us and from redis-server.
'use strict';

// Buffers, errors and maps in a form that JSON can tell apart.
function plain(value) {
  if (value instanceof Error) return { error: value.message.replace(/^ReplyError: /, '') };
  if (Buffer.isBuffer(value)) return { bytes: value.toString('hex') };
  if (typeof value === 'bigint') return { big: String(value) };
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
  return value === undefined ? null : value;
}

function tell(what, value) {
  console.log(JSON.stringify([what, plain(value)]));
}

// The outcome of a promise; an error is an outcome too.
async function told(what, promise) {
  tell(what, await promise.catch((error) => error));
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what, check) {
  for (let i = 0; i < 3000; i += 1) {
    if (await check()) return;
    await pause(20);
  }
  throw new Error(`waited in vain for ${what}`);
}

function run(main) {
  main().then(() => process.exit(0), (error) => { console.log(error.stack); process.exit(1); });
}

module.exports = { tell, told, pause, until, run };
