// SPDX-License-Identifier: Apache-2.0

// Asks Express which of its routes each request target reaches, over real
// connections: express.js MODULE < targets.json > answers.json
//
// In: {"routes": [{"mount", "path"}], "targets": [...]}; in targets a character is a
// byte. Out: {"express", "node", "asked", "reached": [[route, target]]}, of those that
// reached a route only.
'use strict'
const fs = require('fs')
const net = require('net')

const [name] = process.argv.slice(2)
const express = require(name)
const { routes, targets } = JSON.parse(fs.readFileSync(0, 'utf8'))

const app = express()
routes.forEach((route, i) => {
  const answer = (req, res) => res.set('x-route', String(i)).end()
  if (route.prefix) {
    app.use(route.path, answer)
  } else if (route.mount) {
    const router = express.Router()
    router.post(route.path, answer)
    app.use(route.mount, router)
  } else {
    app.post(route.path, answer)
  }
})
app.use((err, req, res, next) => res.status(err.status || 500).end())

function ask (port, target) {
  return new Promise((resolve, reject) => {
    const c = net.connect(port, '127.0.0.1')
    let answer = ''
    c.setEncoding('latin1')
    c.on('data', (d) => { answer += d })
    c.on('error', (err) => err.code === 'ECONNRESET' ? resolve(null) : reject(err))
    c.on('close', () => {
      const found = /^x-route: (\d+)\r$/mi.exec(answer)
      resolve(found && / 200 /.test(answer.slice(0, 13)) ? Number(found[1]) : null)
    })
    c.write(Buffer.from('POST ' + target + ' HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n', 'latin1'))
  })
}

const server = app.listen(0, '127.0.0.1', async () => {
  const { port } = server.address()
  const reached = []
  let next = 0
  async function worker () {
    while (next < targets.length) {
      const i = next++
      const route = await ask(port, targets[i])
      if (route !== null) reached.push([i, route])
    }
  }
  await Promise.all(Array.from({ length: 8 }, worker))
  server.close()
  reached.sort((a, b) => a[0] - b[0])
  const lines = reached.map(([i, route]) => ascii(JSON.stringify([route, targets[i]])))
  const head = JSON.stringify({ express: require(name + '/package.json').version, node: process.version, asked: targets.length })
  process.stdout.write(head.slice(0, -1) + ',"reached":[\n' + lines.join(',\n') + '\n]}\n')
})

function ascii (s) {
  return s.replace(/[\u007f-\uffff]/g, (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'))
}
