// Random histories of taps, kills, lost requests and changing people: every acceptance counts once. TIXING_SEED repeats one.
'use strict'

const assert = require('node:assert/strict')
const { createClient } = require('../tixing.js')
const { OldPromise } = require('./old-promise.js')
const { ALICE, BOB, T, createClientWith, test, until, world } = require('./world.js')

test('random histories: every acceptance counts once, for who gave it', async () => {
  const old_client = createClientWith(OldPromise)
  const only = Number(process.env.TIXING_SEED || 0)
  for (let seed = only || 1; seed <= (only || 300); seed += 1) {
    const random = dice(seed)
    const pick = list => list[Math.floor(random() * list.length)]
    const w = world({}, seed % 3 === 0 ? old_client : createClient)
    const given = { [ALICE]: 0, [BOB]: 0 }
    let who
    // WeChat keeps the storage of its users apart. Where it would not, what was tapped after the run's login is still nobody else's.
    const keeps_apart = seed % 2 === 1
    const become = openid => {
      who = openid
      w.hook.openid = openid
      if (keeps_apart) w.phone.user = openid
    }
    become(ALICE)
    const steps = {
      async tap() {
        if (!keeps_apart && !await w.client.login().then(() => true, () => false)) return
        const answer = pick(['accept', 'accept', 'reject', 'acceptWithAlert'])
        given[who] += answer === 'reject' ? 0 : 1
        const promise = w.tap({ [T]: answer })
        const told = promise.then(out => assert.equal(out.dropped, undefined))
        await (random() < 0.7 ? told : until(() => true))
      },
      async change_person() {
        // WeChat starts the program anew for another user.
        become(who === ALICE ? BOB : ALICE)
        w.start()
        await w.client.login().catch(() => {})
      },
      kill: () => { w.start() },
      flush: () => { w.client.flush() },
      end_sessions: () => w.hook.end_sessions(),
      later: () => { w.now += Math.floor((random() - 0.3) * 3600 * 1000) },
      lose_answers: () => { w.hook.faults = [{ lose: 'answer' }, { lose: 'answer' }] },
      lose_requests: () => { w.hook.faults = [{ lose: 'request' }] },
      refuse: () => { w.hook.faults = [{ status: pick([429, 500, 502, 503, 408, 401]), header: pick([{}, { 'Retry-After': '9' }]) }] },
      heal: () => { w.hook.faults = [] },
      ring: () => w.armed().length ? w.ring() : undefined,
    }
    const story = []
    for (let n = 0; n < 25; n += 1) {
      const name = pick(Object.keys(steps).concat('tap', 'tap', 'tap'))
      story.push(name)
      await steps[name]()
      await until(() => true)
    }
    w.hook.faults = []
    for (const openid of [ALICE, BOB]) {
      become(openid)
      w.start()
      await w.client.login()
      let out = await w.client.flush()
      for (let n = 0; out.pending > 0 && n < 9; n += 1) out = await w.ring()
      assert.equal(out.pending, 0, `seed ${seed}`)
    }
    for (const openid of [ALICE, BOB]) {
      const balance = w.hook.balance(openid, T)
      const what = `TIXING_SEED=${seed}: ${openid} gave ${given[openid]}, ${balance} count: ${story.join(' ')}`
      assert.equal(balance, given[openid], what)
    }
  }
})

/** Random numbers that a seed repeats (mulberry32). */
function dice(seed) {
  let state = seed
  return () => {
    state = (state + 0x6D2B79F5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
