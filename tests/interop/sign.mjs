// Signs the messages on stdin, one JSON object a line, by the published npm package; one signature a line.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const { Webhook } = createRequire(process.env.INTEROP + '/')('standardwebhooks')
const key = new Webhook(process.env.HOOK_KEY)
for (const line of readFileSync(0, 'utf8').trim().split('\n')) {
  const { id, at, payload } = JSON.parse(line)
  console.log(key.sign(id, new Date(at * 1000), payload))
}
