// node-redis.js PORT -- node-redis (the package redis, version 4) in its ordinary use, as a transcript.
'use strict';
const { createClient, commandOptions, defineScript } = require('redis');
const { tell, told, until, run } = require('./transcript');

const port = Number(process.argv[2]);
const scripts = { addTo: defineScript({
  NUMBER_OF_KEYS: 1, SCRIPT: "return redis.call('INCRBY', KEYS[1], ARGV[1])",
  transformArguments(key, number) { return [key, String(number)]; },
  transformReply(reply) { return reply * 10; },
}) };

async function connect() {
  const client = createClient({ socket: { host: '127.0.0.1', port }, scripts, name: 'tester' });
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function values(client) {
  await told('set', client.set('key', 'value', { EX: 100, NX: true }));
  await told('get old', client.set('key', 'next', { GET: true, KEEPTTL: true }));
  await told('ttl', client.ttl('key').then((seconds) => seconds > 50 && seconds <= 100));
  await told('buffer', client.get(commandOptions({ returnBuffers: true }), 'key'));
  await told('hSet', client.hSet('hash', { a: 1, b: 'two' }));
  await told('hGetAll', client.hGetAll('hash'));
  await told('zAdd', client.zAdd('zset', [{ score: 1, value: 'one' }, { score: Infinity, value: 'end' }]));
  await told('zRange', client.zRangeWithScores('zset', 0, -1));
  await told('zMPop', client.zmPop(['nokey', 'zset'], 'MAX', { COUNT: 1 }));
  await told('geo', client.geoAdd('geo', { longitude: 13.36, latitude: 38.11, member: 'Palermo' }));
  await told('geoSearch', client.geoSearchWith('geo', { longitude: 15, latitude: 37 }, { radius: 200, unit: 'km' }, ['WITHDIST']));
  await told('bitField', client.bitField('bits', [{ operation: 'INCRBY', encoding: 'u2', offset: 100, increment: 1 }, { operation: 'GET', encoding: 'u4', offset: 0 }]));
  await told('pfCount', client.pfAdd('hll', ['a', 'b', 'c']).then(() => client.pfCount('hll')));
  await told('wrong type', client.incr('hash'));
  await told('no such', client.sendCommand(['NOSUCH']));
  await told('getname', client.clientGetName());
  await told('config', client.configGet('maxmemory-policy'));
  await told('exists', client.exists(['key', 'hash', 'nokey']));
  await told('dbSize', client.dbSize());
}

async function batches(client) {
  await told('multi', client.multi().set('m', '1').incr('m').get('m').exec());
  await told('multi with an error', client.multi().set('m', 'x').incr('m').exec());
  await told('together', Promise.all([client.get('m'), client.set('n', '1'), client.incr('n')]));
  await told('optimistic', client.executeIsolated(async (isolated) => {
    await isolated.watch('n');
    await client.set('n', 'changed');
    return isolated.multi().get('n').exec();
  }).catch((error) => ({ name: error.constructor.name })));
}

async function runsScripts(client) {
  await client.scriptFlush();
  await told('script', client.addTo('counter', 5));
  await told('script again', client.addTo('counter', 5));
  await told('eval', client.eval('return {KEYS[1], ARGV[1], 1, {2}}', { keys: ['k'], arguments: ['a'] }));
  await told('functions', client.functionLoad("#!lua name=l\nredis.register_function{function_name='g', callback=function(k, a) return #a end, flags={'no-writes'}}", { REPLACE: true }));
  await told('fCallRo', client.fCallRo('g', { keys: [], arguments: ['1', '2'] }));
  await told('functionList', client.functionList());
}

async function streams(client) {
  await told('xGroupCreate', client.xGroupCreate('stream', 'group', '0', { MKSTREAM: true }));
  const waiting = client.xReadGroup(commandOptions({ isolated: true }), 'group', 'me', [{ key: 'stream', id: '>' }], { COUNT: 5, BLOCK: 60000 });
  await client.xAdd('stream', '7-1', { a: '1', b: '2' });
  await told('xReadGroup', waiting);
  await told('xPending', client.xPendingRange('stream', 'group', '-', '+', 10).then((all) => all.map(({ id, consumer, deliveriesCounter }) => ({ id, consumer, deliveriesCounter }))));
  await told('xAck', client.xAck('stream', 'group', '7-1'));
  await told('xTrim', client.xTrim('stream', 'MAXLEN', 0));
  await told('xInfoStream', client.xInfoStream('stream'));
  await told('blPop', Promise.all([client.blPop(commandOptions({ isolated: true }), ['q1', 'q2'], 60), client.rPush('q2', 'job')]));
}

async function subscriptions(client) {
  const subscriber = client.duplicate();
  await subscriber.connect();
  const heard = [];
  await subscriber.subscribe('channel', (message, channel) => heard.push(['s', channel, message]));
  await subscriber.pSubscribe('ch*', (message, channel) => heard.push(['p', channel, message]));
  await subscriber.sSubscribe('shard', (message, channel) => heard.push(['h', channel, message]));
  await told('publish', client.publish('channel', 'hello'));
  await told('sPublish', client.sPublish('shard', 'there'));
  await until('three messages', () => heard.length >= 3);
  tell('heard', heard.map(String).sort());
  await told('channels', client.pubSubChannels());
  await subscriber.unsubscribe('channel');
  await subscriber.pUnsubscribe('ch*');
  await subscriber.disconnect();
}

async function scans(client) {
  await client.mSet([...Array(200).keys()].flatMap((n) => [`scan:${n}`, String(n)]));
  const found = new Set();
  for await (const key of client.scanIterator({ MATCH: 'scan:*', COUNT: 30 })) found.add(key);
  tell('scanned', found.size);
  const members = [];
  for await (const { field, value } of client.hScanIterator('hash')) members.push(`${field}=${value}`);
  tell('hScan', members.sort());
}

run(async () => {
  const client = await connect();
  for (const part of [values, batches, runsScripts, streams, subscriptions, scans]) await part(client);
  await told('quit', client.quit());
});
