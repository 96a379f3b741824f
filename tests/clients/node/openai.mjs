// OpenAI's package: a list, a completion, an upload, and a streamed completion, which the service goes on with when it is asked for the list again.
import OpenAI, { toFile } from 'openai'

// Node 18, which Debian 12 has, keeps it elsewhere.
globalThis.File ??= (await import('node:buffer')).File

const client = new OpenAI()
const question = { model: 'gpt-test', messages: [{ role: 'user', content: 'Say hello.' }] }

for await (const model of client.models.list()) console.log('model', model.id)
console.log((await client.chat.completions.create(question)).choices[0].message.content)

const file = await client.files.create({ file: await toFile(Buffer.alloc(1 << 20, 'x'), 'lines.jsonl'), purpose: 'batch' })
console.log(file.id, file.bytes > 1 << 20)

let text = ''
for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) {
  const part = chunk.choices[0]?.delta.content ?? ''
  text += part
  console.log('part', part)
  if (part === 'Hello') await client.models.list()
}
console.log(text)
