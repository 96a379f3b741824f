// gRPC's package for Node: each kind of call, trailing metadata, and an error in the trailers. Messages are bytes as they are.
import { once } from 'node:events'
import grpc from '@grpc/grpc-js'

const token = grpc.credentials.createFromMetadataGenerator((_, done) => {
  const metadata = new grpc.Metadata()
  metadata.set('authorization', `Bearer ${process.env.API_TOKEN}`)
  done(null, metadata)
})
const client = new grpc.Client('api.example.com:443', grpc.credentials.combineChannelCredentials(grpc.credentials.createSsl(), token))
const bytes = value => Buffer.from(value)
const trailing = async call => (await once(call, 'status'))[0].metadata.get('answered')[0]

// A call whose answer comes by a callback.
async function one(make) {
  let call
  const answered = new Promise((resolve, reject) => { call = make((error, answer) => error ? reject(error) : resolve(answer)) })
  const status = trailing(call)
  return [call, answered, status]
}

let [call, answered, status] = await one(done => client.makeUnaryRequest('/demo.Echo/Unary', bytes, bytes, 'hello', done))
console.log('unary', String(await answered), await status)

call = client.makeServerStreamRequest('/demo.Echo/ServerStream', bytes, bytes, '3')
status = trailing(call)
console.log('server stream', (await call.toArray()).map(String).join(' '), await status);

[call, answered, status] = await one(done => client.makeClientStreamRequest('/demo.Echo/ClientStream', bytes, bytes, done))
for (const message of ['one ', 'two ', 'three']) call.write(message)
call.end()
console.log('client stream', String(await answered), await status)

// The next message goes out when the answer to the one before is there.
call = client.makeBidiStreamRequest('/demo.Echo/Both', bytes, bytes)
status = trailing(call)
const received = []
for (const message of ['ping', 'pong', 'x'.repeat(100000)]) {
  call.write(message)
  received.push(String((await once(call, 'data'))[0]) === message ? 'same' : 'other')
}
call.end()
console.log('both', received.join(' '), await status);

[call, answered, status] = await one(done => client.makeUnaryRequest('/demo.Echo/Fail', bytes, bytes, 'hello', done))
try {
  await answered
} catch (error) {
  console.log('failed', grpc.status[error.code], error.details, error.metadata.get('answered')[0])
}
client.close()
