// Anthropic's package: a list, a message, and a streamed one, which the service goes on with when it is asked for the list again.
import Anthropic from '@anthropic-ai/sdk'

const client = new Anthropic()
const question = { model: 'claude-test', max_tokens: 100, messages: [{ role: 'user', content: 'Say hello.' }] }

for await (const model of client.models.list()) console.log('model', model.id)
console.log((await client.messages.create(question)).content[0].text)

const stream = client.messages.stream(question)
stream.on('text', async text => {
  console.log('part', text)
  if (text === 'Hello') await client.models.list()
})
const message = await stream.finalMessage()
console.log(message.content[0].text, message.stop_reason, message.usage.output_tokens)
