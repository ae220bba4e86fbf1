// cluster.js ioredis|node-redis PORT SECONDS [FILE] -- a client of a cluster writes while slots move, for SECONDS, until FILE is there and
// enough was written; then all is read back.
// Prints one line of JSON: written, wrong, unfollowed, errors. Ends with 0 when nothing is missing. Unfollowed: redirections that
// node-redis shows to its caller while it reads the slots anew; what it told so was not written.
'use strict';
const fs = require('fs');
const Redis = require('ioredis');
const { createCluster } = require('redis');
const { until, pause, run } = require('./transcript');

const [kind, port, seconds, file] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4]), process.argv[5]];

async function connect() {
  if (kind === 'ioredis') {
    const cluster = new Redis.Cluster([{ host: '127.0.0.1', port }], { slotsRefreshInterval: 1000 });
    await cluster.set('{any}key', 'x');
    return { set: (key, value) => cluster.set(key, value), get: (key) => cluster.get(key), eval: (script, key) => cluster.eval(script, 1, key),
      pipeline: (tag) => cluster.pipeline().set(`{${tag}}a`, 1).incr(`{${tag}}a`).exec().then((all) => all[1][1]),
      multi: (tag) => cluster.multi().set(`{${tag}}m`, 1).incr(`{${tag}}m`).exec().then((all) => all[1][1]),
      subscribe: async (channel, heard) => { const s = new Redis({ host: '127.0.0.1', port }); s.on('message', (_, text) => heard.push(text)); await s.subscribe(channel); await new Redis({ host: '127.0.0.1', port }).publish(channel, 'hello'); } };
  }
  const cluster = createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }] });
  cluster.on('error', () => {});
  await cluster.connect();
  return { set: (key, value) => cluster.set(key, value), get: (key) => cluster.get(key), eval: (script, key) => cluster.eval(script, { keys: [key] }),
    pipeline: (tag) => Promise.all([cluster.set(`{${tag}}a`, '1'), cluster.incr(`{${tag}}a`)]).then((all) => all[1]),
    multi: (tag) => cluster.multi().set(`{${tag}}m`, '1').incr(`{${tag}}m`).exec().then((all) => all[1]),
    subscribe: async (channel, heard) => { await cluster.sSubscribe(channel, (text) => heard.push(text)); await cluster.sPublish(channel, 'hello'); } };
}

run(async () => {
  const client = await connect();
  const written = new Map();
  const errors = [];
  const heard = [];
  const end = Date.now() + 1000 * seconds;
  let unfollowed = 0;
  const note = (error) => { if (kind === 'node-redis' && error.message.startsWith('MOVED')) unfollowed += 1; else errors.push(error.message); };
  await client.subscribe('channel', heard);
  for (let n = 0, enough = false; Date.now() < end || written.size <= 200 || !enough; n += 1) {
    const key = `key:${n % 3000}`;
    await client.set(key, String(n)).then(() => written.set(key, String(n)), note);
    if (n % 50 === 0) {
      enough = !file || fs.existsSync(file);
      for (const part of [client.pipeline(n), client.multi(n)]) await part.then((two) => { if (two !== 2) errors.push(`2 is ${two}`); }, note);
      await client.eval("return redis.call('GET', KEYS[1])", key).then((value) => { if (value !== String(n)) errors.push(`${key} is ${value}`); }, note);
      await pause(1);
    }
  }
  await until('the message', () => heard.length > 0);
  let wrong = 0;
  for (const [key, value] of written) if (await client.get(key) !== value) wrong += 1;
  console.log(JSON.stringify({ written: written.size, wrong, unfollowed, errors: errors.slice(0, 5) }));
  process.exit(written.size > 100 && !wrong && unfollowed < written.size / 10 && !errors.length ? 0 : 1);
});
