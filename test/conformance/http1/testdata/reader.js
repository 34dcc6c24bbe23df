// SPDX-License-Identifier: Apache-2.0
//
// Reads requests with Node's http module and reports those that came whole to
// the collector, before it answers them: node reader.js PORT COLLECTOR
'use strict';
const http = require('http');
const [listenPort, collector] = process.argv.slice(2);
const [host, collectorPort] = collector.split(':');
const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });

// report resolves when the collector has taken the request.
function report(req, from, number, body) {
  return new Promise((resolve) => {
    const out = http.request({
      host, port: collectorPort, agent, method: 'POST', path: '/seen',
      headers: {
        'X-Reader-From': from,
        'X-Reader-Number': number,
        'X-Reader-Escaped': '1',
        'X-Reader-Request': req.method + ' ' + escape(req.url),
        'Content-Length': body.length,
      },
    }, (res) => { res.resume(); res.on('end', resolve); });
    out.on('error', resolve);
    out.end(body);
  });
}

const server = http.createServer({ maxHeaderSize: 32768 }, (req, res) => {
  const from = req.socket.remoteAddress;
  const read = req.socket.read_ = req.socket.read_ || [];
  const number = read.length;
  const chunks = [];
  const done = new Promise((resolve) => {
    req.on('data', (b) => chunks.push(b));
    req.on('end', () => {
      if (!req.complete) return resolve();
      report(req, from, number, Buffer.concat(chunks)).then(() => {
        res.statusCode = 204;
        res.end();
        resolve();
      });
    });
  });
  read.push({ req, done });
});
// What was read whole before must be known before the connection ends.
server.on('clientError', (err, socket) => {
  const whole = (socket.read_ || []).filter((r) => r.req.complete);
  Promise.all(whole.map((r) => r.done)).then(() => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
    else socket.destroy();
  });
});
server.httpAllowHalfOpen = true;
server.listen(Number(listenPort), '127.0.0.1');
