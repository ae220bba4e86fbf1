// queue.js PORT SECONDS [drops] -- BullMQ through the gateway: jobs are added and worked on for SECONDS, then counted.
// With $QUEUE_UNTIL it also goes on until that file is there, and always until 100 jobs were added.
// With `drops` a connection may break and be refused for a while; ioredis opens another.
// Prints one line of JSON: added, done, twice, failed, errors. Ends with 0 when every added job was done exactly once.
'use strict';
const fs = require('fs');
const { Queue, Worker } = require('bullmq');

const port = Number(process.argv[2]);
const until = Date.now() + 1000 * Number(process.argv[3]);
const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
const drops = process.argv[4] === 'drops';
const errors = [];
const note = (who) => (error) => {
  if (drops && /ECONNREFUSED|ECONNRESET|EPIPE|Connection is closed/.test(`${error.code} ${error.message}`)) return;
  errors.push(`${who}: ${error.message}`);
};
const done = new Map();
let failed = 0;
let added = 0;

const queue = new Queue('drawbridge-test', { connection });
const worker = new Worker('drawbridge-test', async (job) => {
  done.set(job.data.number, (done.get(job.data.number) || 0) + 1);
  return job.data.number * 2;
}, { connection, concurrency: 4 });
queue.on('error', note('queue'));
worker.on('error', note('worker'));
worker.on('failed', () => { failed += 1; });

async function produce() {
  const file = process.env.QUEUE_UNTIL;
  while (Date.now() < until || added <= 100 || (file && !fs.existsSync(file))) {
    await queue.add('job', { number: added }, { delay: added % 5 === 0 ? 300 : 0, removeOnComplete: 100 });
    added += 1;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function main() {
  await produce();
  for (let i = 0; i < 900 && done.size < added; i += 1) await new Promise((resolve) => setTimeout(resolve, 100));
  const twice = [...done.values()].filter((count) => count > 1).length;
  console.log(JSON.stringify({ added, done: done.size, twice, failed, errors: errors.slice(0, 10) }));
  await worker.close();
  await queue.close();
  process.exit(done.size === added && !twice && !failed && !errors.length && added > 0 ? 0 : 1);
}

main().catch((error) => { console.log(JSON.stringify({ error: String(error.stack), errors })); process.exit(1); });
