// Node's built-in fetch.
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'

const ask = (path, options) => fetch('https://api.example.com' + path, { headers: { authorization: `Bearer ${process.env.API_TOKEN}` }, ...options })

console.log(await (await ask('/hello')).text())

const body = randomBytes(3 << 20)
const pieces = Readable.from((function* () { for (let at = 0; at < body.length; at += 65536) yield body.subarray(at, at + 65536) })())
const back = Buffer.from(await (await ask('/echo', { method: 'POST', body: pieces, duplex: 'half' })).arrayBuffer())
console.log(back.length, back.equals(body) ? 'same' : 'other')

const events = (await ask('/events')).body
for await (const line of createInterface({ input: Readable.fromWeb(events) })) {
  if (line === '') continue
  console.log(line)
  if (line.endsWith('one')) await ask('/release')
}
