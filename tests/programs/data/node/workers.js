// SPDX-License-Identifier: Apache-2.0
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');

if (isMainThread) {
	const shared = new Int32Array(new SharedArrayBuffer(8));
	const workers = [1, 2, 3].map((id) => new Promise((done, fail) => {
		const worker = new Worker(__filename, { workerData: { id, shared } });
		worker.on('message', (message) => done(message));
		worker.on('error', fail);
	}));
	Promise.all(workers).then((results) => {
		console.log(results, Atomics.load(shared, 0));
		const broken = new Worker('throw new Error("in a worker")', { eval: true });
		broken.on('error', (error) => console.log(error.message));
		broken.on('exit', (code) => console.log('exit', code));
	});
} else {
	for (let i = 0; i < 100000; i++) Atomics.add(workerData.shared, 0, 1);
	let sum = 0;
	for (let i = 0; i < 1e6; i++) sum += i % workerData.id;
	parentPort.postMessage(`worker ${workerData.id}: ${sum}`);
}
