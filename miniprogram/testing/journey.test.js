// One person's way through all doors of the real program: asked, reminded, told of, refused, skipped, gone.
'use strict'

const { test } = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { createClient } = require('../tixing.js')
const { APPID, TEMPLATE, createDemo, createDoor, createRealPhone } = require('./real.js')

const RULE = 'visit-soon'
/** The demo's rule reminds 20 s before a visit; here is what is left until then. */
const AHEAD_MS = 23000

/** Waits until `look` gives something. */
async function until(what, look) {
  for (let n = 0; n < 600; n += 1) {
    const seen = await look()
    if (seen) return seen
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  throw new Error('waited in vain: ' + what)
}

test('a person is reminded, refuses, is skipped, and leaves no trace', async t => {
  const demo = await createDemo({ pause: ['--rule', 'drink-water'] })
  t.after(demo.end)
  const door = await createDoor(demo)
  t.after(door.end)
  const phone = createRealPhone(demo)
  const openid = phone.openid = demo.person + 'way'
  const client = createClient({ baseUrl: `http://${demo.hook}`, app: 'demo', wx: phone.start() })
  const account = () => demo.tixing('consents', 'show', '--openid', openid)[0]
  const deliveries = () => demo.tixing('deliveries', 'list', '--rule', RULE)
  const cards = () => demo.sandbox('GET', 'cards?openid=' + openid)
  /** The backend puts a visit; when it is, in milliseconds. */
  const visit = async id => {
    const at = Math.ceil((Date.now() + AHEAD_MS) / 1000) * 1000
    await demo.backend('PUT', `/v1/appointments/visit/${id}?app=demo`, { openid, at: new Date(at).toISOString(), fields: { doctor: '李医生' } })
    return at
  }
  /** Every event that was told has come to the hook. */
  const told = n => until(`${n} events`, async () => {
    const pushes = await demo.sandbox('GET', 'pushes')
    assert.deepEqual([pushes.lost, pushes.given_up], [0, 0])
    return pushes.taken >= n && pushes.under_way === 0
  })
  /** Whether his openid is in any live record. */
  const known = n => {
    const file = path.join(demo.folder, `backup-${n}`)
    demo.tixing('backup', file)
    return fs.readFileSync(file).includes(openid)
  }
  await demo.push(door.url + '/wechat/demo', 'safe', 'xml')

  // He logs in and accepts twice; the panel's events come as well, and count nothing.
  assert.deepEqual((await client.login()).ask, [TEMPLATE])
  for (let n = 1; n <= 2; n += 1) assert.equal((await phone.subscribe(client, 'accept')).balances[TEMPLATE], n)
  await told(2)
  assert.deepEqual([account().granted, account().available], [2, 2])

  // The reminder of a visit goes out at its time; its answer is lost, and WeChat's receipt is on its way.
  await demo.sandbox('POST', 'faults', [{ api: 'send', what: 'destroy_after', openid, at_most: 1 }])
  door.close()
  const at = await visit('A1')
  await until('a delivery in doubt', () => deliveries().some(one => one.state === 'in_doubt'))
  const [card] = await cards()
  assert.deepEqual([card.fields[0].value, card.receipt, account().in_doubt], ['李医生门诊', null, 1])
  const sent_at = Date.parse(card.at)
  assert.ok(sent_at >= at - 20000 && sent_at < at, card.at)

  // The receipt settles it.
  door.open()
  await until('the receipt', () => deliveries().every(one => one.state === 'sent'))
  await told(3)
  const [delivery] = deliveries()
  assert.deepEqual([delivery.msgid, delivery.attempts, account().in_doubt, account().consumed], [card.msgid, 1, 0, 1])
  assert.equal((await cards())[0].receipt, 0)

  // He turns it off in WeChat's settings: what he had left is void, and the next visit's reminder is skipped.
  await demo.sandbox('POST', 'revoke', { appid: APPID, openid, template: TEMPLATE })
  await told(4)
  assert.deepEqual([account().available, account().voided], [0, 1])
  await visit('A2')
  const skipped = await until('the next reminder', () => {
    const [, second] = demo.tixing('occurrences', 'list', '--rule', RULE)
    return second && second.state === 'done' && second
  })
  assert.deepEqual([skipped.audience, skipped.sent, skipped.skipped], [1, 0, { refused: 1 }])
  const [why] = demo.tixing('explain', '--rule', RULE, '--to', openid, '--at', new Date().toISOString())
  assert.deepEqual([why.outcome, why.reason], ['skipped', 'refused'])
  assert.equal((await cards()).length, 1)

  // He closes his account: then his openid is in no live record.
  assert.equal(known(1), true)
  await demo.sandbox('POST', 'leave', { appid: APPID, openid })
  await told(5)
  assert.equal(account(), undefined)
  let n = 1
  await until('no trace', () => !known(n += 1))
  await demo.kill()
  await demo.start()
  assert.deepEqual(demo.tixing('fsck').map(({ ok, violations }) => ({ ok, violations })), [{ ok: true, violations: [] }])
})
