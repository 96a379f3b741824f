// The package ws: texts and bytes of several sizes, a ping, and a close that both sides say.
import { once } from 'node:events'
import WebSocket from 'ws'

const socket = new WebSocket('wss://api.example.com/live', { headers: { authorization: `Bearer ${process.env.API_TOKEN}` } })
await once(socket, 'open')
for (const message of ['hello', 'x'.repeat(70000), Buffer.alloc(300)]) {
  socket.send(message)
  console.log((await once(socket, 'message'))[0].length)
}
socket.ping()
await once(socket, 'pong')
socket.close(1000)
console.log((await once(socket, 'close'))[0])
