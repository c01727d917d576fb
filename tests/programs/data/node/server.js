// SPDX-License-Identifier: Apache-2.0
'use strict';
const http = require('http');

const server = http.createServer((request, response) => {
	if (request.url === '/quit') {
		response.end('bye\n');
		server.close();
		server.closeAllConnections?.();
		return;
	}
	let length = 0;
	request.on('data', (chunk) => { length += chunk.length; });
	request.on('end', () => {
		response.setHeader('Content-Type', 'application/json');
		response.end(JSON.stringify({ method: request.method, url: request.url, length }) + '\n');
	});
});
server.on('close', () => console.log('closed'));
server.listen(Number(process.argv[2]), '127.0.0.1');
