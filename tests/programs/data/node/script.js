// SPDX-License-Identifier: Apache-2.0
// The language, its event loop, files, streams, compression, hashes, timers.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const os = require('os');
const path = require('path');
const zlib = require('zlib');
const { pipeline } = require('stream/promises');
const { EventEmitter, once } = require('events');
const { promisify } = require('util');

async function main() {
	console.log(process.argv.slice(2), process.platform, process.arch, os.EOL.length);
	fs.mkdirSync('a/b', { recursive: true });
	fs.writeFileSync('a/b/file', 'x'.repeat(100000));
	fs.symlinkSync('b/file', 'a/link');
	console.log(fs.readdirSync('a'), fs.statSync('a/link').size, path.resolve('a', '..') === process.cwd());
	await fs.promises.appendFile('a/b/file', 'more');
	await pipeline(fs.createReadStream('a/b/file'), zlib.createGzip(), fs.createWriteStream('file.gz'));
	console.log(zlib.gunzipSync(fs.readFileSync('file.gz')).length);
	console.log(crypto.createHash('sha256').update('mayfly').digest('hex'));
	console.log((await promisify(crypto.pbkdf2)('a', 'b', 10000, 16, 'sha512')).toString('hex'));
	const many = await Promise.all(Array.from({ length: 40 }, (_, i) =>
		fs.promises.writeFile(`file${i}`, String(i)).then(() => fs.promises.readFile(`file${i}`, 'utf8'))));
	console.log(many.map(Number).reduce((a, b) => a + b));
	const start = process.hrtime.bigint();
	await new Promise((done) => setTimeout(done, 30));
	console.log(process.hrtime.bigint() - start >= 29000000n);
	const emitter = new EventEmitter();
	setImmediate(() => emitter.emit('event', 7));
	console.log(await once(emitter, 'event'));
	process.nextTick(() => console.log('tick'));
	await null;
	console.log([..."naïve"].reverse().join(''), 2n ** 100n, [3, 1, 2].sort(), /(?<y>\d{4})/.exec('in 2024').groups.y);
	console.log(JSON.stringify({ a: [1, { b: null }], d: new Date(0) }), new Intl.NumberFormat('en').format(1234567.5));
	let sum = 0;
	for (let i = 0; i < 2e7; i++) sum = (sum * 31 + i) | 0; // long enough for the optimising compiler
	console.log(sum);
	let garbage = [];
	for (let i = 0; i < 300000; i++) garbage[i % 1000] = { i, text: 'x' + i };
	console.log(garbage.length, eval('1 + 1'), new Function('a', 'return a * 2')(21));
	try {
		await fs.promises.readFile('nothing');
	} catch (error) {
		console.log(error.code);
	}
	const signalled = once(process, 'SIGUSR2');
	const alive = setInterval(() => {}, 1000); // a handler alone would not keep it waiting
	process.kill(process.pid, 'SIGUSR2');
	await signalled;
	clearInterval(alive);
	console.log('signal');
	const bytes = Buffer.alloc(8);
	new DataView(bytes.buffer, bytes.byteOffset).setFloat64(0, Math.PI);
	console.log(bytes.toString('hex'), new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])) instanceof WebAssembly.Module);
	process.exitCode = 6;
}

main();
