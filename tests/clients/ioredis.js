// ioredis.js PORT -- ioredis in its ordinary use, as a transcript.
'use strict';
const Redis = require('ioredis');
const { tell, told, until, run } = require('./transcript');

const port = Number(process.argv[2]);
const connect = (options = {}) => new Redis({ host: '127.0.0.1', port, ...options });

async function values(redis) {
  await told('set', redis.set('key', 'value', 'EX', 100, 'NX'));
  await told('set again', redis.set('key', 'other', 'NX'));
  await told('get', redis.get('key'));
  await told('buffer', redis.setBuffer('bytes', Buffer.from([0, 255, 13, 10])));
  await told('getBuffer', redis.getBuffer('bytes'));
  await told('mset', redis.mset({ a: 1, b: 2 }));
  await told('mget', redis.mget('a', 'nokey', 'b'));
  await told('hset', redis.hset('hash', { name: 'x', size: 3 }));
  await told('hgetall', redis.hgetall('hash'));
  await told('zadd', redis.zadd('zset', 1, 'one', 2.5, 'two'));
  await told('zrange', redis.zrange('zset', 0, -1, 'WITHSCORES'));
  await told('wrong type', redis.incr('hash'));
  await told('no such', redis.call('NOSUCH', 'x'));
  await told('lpush', redis.rpush('list', 'a', 'b', 'c'));
  await told('lmpop', redis.lmpop(2, 'nolist', 'list', 'RIGHT', 'COUNT', 2));
}

async function batches(redis) {
  await told('pipeline', redis.pipeline().set('p', 1).incr('p').incr('hash').get('p').exec());
  await told('multi', redis.multi().set('m', 1).incr('m').get('m').exec());
  await told('multi with an error', redis.multi().set('m', 'x').incr('m').exec());
  await told('multi refused', redis.multi().set('m').get('m').exec());
  await told('watch', redis.watch('m'));
  const other = connect();
  await other.set('m', 'changed');
  other.disconnect();
  await told('exec after a change', redis.multi().get('m').exec());
}

async function scripts(redis) {
  redis.defineCommand('twice', { numberOfKeys: 1, lua: "return {redis.call('get', KEYS[1]), ARGV[1], 3.7, {1, false}, redis.status_reply('FINE')}" });
  await told('defined', redis.twice('key', 'x'));
  await redis.script('FLUSH');
  await told('defined, after FLUSH', redis.twice('key', 'y'));
  await told('error of a script', redis.eval("return redis.error_reply('MY own')", 0));
  await told('not loaded', redis.evalsha('f'.repeat(40), 0));
  await told('function', redis.function('LOAD', 'REPLACE', "#!lua name=lib\nredis.register_function('f', function(keys, args) return args[1] .. '!' end)"));
  await told('fcall', redis.fcall('f', 0, 'hello'));
}

async function streams(redis) {
  await told('xgroup', redis.xgroup('CREATE', 'stream', 'group', '$', 'MKSTREAM'));
  const reader = connect();
  const waiting = reader.xreadgroup('GROUP', 'group', 'me', 'COUNT', 2, 'BLOCK', 60000, 'STREAMS', 'stream', '>');
  await until('it waits', async () => /blocked_clients:1/.test(await redis.info('clients')));
  await redis.multi().xadd('stream', '5-1', 'field', 'value').xadd('stream', '5-2', 'field', 'other').exec();
  await told('xreadgroup', waiting);
  await told('pending', redis.xpending('stream', 'group'));
  await told('xack', redis.xack('stream', 'group', '5-1'));
  await told('xautoclaim', redis.xautoclaim('stream', 'group', 'you', 0, '0', 'COUNT', 10));
  await told('xinfo', redis.xinfo('GROUPS', 'stream'));
  await told('xrange', redis.xrange('stream', '-', '+'));
  reader.disconnect();
}

async function subscriptions(redis) {
  const heard = [];
  const subscriber = connect();
  for (const event of ['message', 'pmessage', 'smessage']) subscriber.on(event, (...args) => heard.push([event, ...args]));
  await told('subscribe', subscriber.subscribe('one', 'two'));
  await told('psubscribe', subscriber.psubscribe('t*'));
  await told('ssubscribe', subscriber.ssubscribe('shard'));
  await told('refused', subscriber.get('key'));
  await told('publish', redis.publish('two', 'hello'));
  await redis.spublish('shard', 'sharded');
  await until('three messages', () => heard.length >= 3);
  tell('heard', heard.map((line) => JSON.stringify(line)).sort());
  await told('unsubscribe', subscriber.unsubscribe('one'));
  subscriber.disconnect();
}

async function scans(redis) {
  await redis.mset(Object.fromEntries([...Array(250).keys()].map((n) => [`scan:${n}`, n])));
  const found = new Set();
  for await (const keys of redis.scanStream({ match: 'scan:*', count: 20 })) keys.forEach((key) => found.add(key));
  tell('scanned', found.size);
  const fields = [];
  for await (const part of redis.hscanStream('hash')) fields.push(...part);
  tell('hscan', fields);
}

async function reconnects(redis) {
  const other = connect({ retryStrategy: () => 20 });
  await other.set('before', 1);
  const id = await other.client('ID');
  await told('kill', redis.client('KILL', 'ID', id));
  await told('after the kill', other.get('before'));
  other.disconnect();
}

run(async () => {
  const redis = connect({ enableAutoPipelining: false, db: 0 });
  for (const part of [values, batches, scripts, streams, subscriptions, scans, reconnects]) await part(redis);
  const auto = connect({ enableAutoPipelining: true });
  await told('auto pipelining', Promise.all([...Array(50).keys()].map((n) => auto.get(`scan:${n}`))));
  await told('quit', redis.quit());
});
