// What a person's taps become, whatever happens between the phone and the daemon: nothing is lost, nothing counts twice.
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const v8 = require('node:v8')
const vm = require('node:vm')
const { createClient } = require('./tixing.js')
const { readme, startProgram } = require('./testing/example.js')
const { OldPromise } = require('./testing/old-promise.js')
const { createPhone } = require('./testing/wx-stub.js')
const { ALICE, BOB, T, createClientWith, test, until, world } = require('./testing/world.js')

const DAY_S = 86400

test('a tap is reported and answered with balances and what to ask next', async () => {
  const w = world({ app: 'clinic' })
  w.hook.ask = ['T2', 'T3']
  const promise = w.phone.tap(() => w.client.subscribe([T]))
  assert.deepEqual(w.phone.panels.map(panel => panel.tmplIds), [[T]], 'the panel opens in the tap itself')
  w.phone.panels[0].answer({ [T]: 'accept' })
  const { report, ...out } = await promise
  assert.deepEqual(out, { results: { [T]: 'accept' }, pending: 0, balances: { [T]: 1 }, ask: ['T2', 'T3'], ignored: [] })
  assert.match(report, /^[A-Za-z0-9_-]{1,64}$/)
  assert.deepEqual(w.bodies(), [{ report, age_s: 0, results: { [T]: 'accept' } }])
  assert.deepEqual(w.phone.requests.map(r => [r.method, r.url]), [
    ['POST', 'https://remind.example.com/v1/login?app=clinic'], ['POST', 'https://remind.example.com/v1/consents?app=clinic'],
  ])
  assert.deepEqual(w.client.known(), { ask: ['T2', 'T3'], balances: { [T]: 1 } })
  assert.deepEqual(w.start({}).known(), { ask: ['T2', 'T3'], balances: { [T]: 1 } }, 'and at once after a new start')
  const next = w.phone.tap(() => w.client.subscribe())
  assert.deepEqual(w.phone.panels[0].tmplIds, ['T2', 'T3'], 'without a list it asks for what was said')
  w.phone.panels[0].answer({ T2: 'accept', T3: 'reject' })
  assert.deepEqual((await next).balances, { [T]: 1, T2: 1 })
})

test('every answer of the panel is told as it is', async () => {
  for (const [told, reported, balance] of [
    [{ [T]: 'accept' }, { [T]: 'accept' }, 1],
    [{ [T]: 'acceptWithAudio' }, { [T]: 'acceptWithAudio' }, 1],
    [{ [T]: 'acceptWithAlert' }, { [T]: 'acceptWithAlert' }, 1],
    [{ [T]: 'acceptWithForcePush' }, { [T]: 'acceptWithForcePush' }, 1],
    [{ [T]: 'reject' }, { [T]: 'reject' }, 0],
    [{ [T]: 'ban' }, { [T]: 'ban' }, 0],
    [{ [T]: 'filter' }, { [T]: 'filter' }, 0],
    [{ [T]: 'of a later year' }, { [T]: 'of a later year' }, 0],
    [{ [T]: 'accept', T2: 'reject', T3: 'filter' }, { [T]: 'accept', T2: 'reject', T3: 'filter' }, 1],
    [{ [T]: 'accept', errCode: 0, confirm: 'true' }, { [T]: 'accept' }, 1],
    [{}, {}, 0],
  ]) {
    const w = world()
    const ids = Object.keys(told).filter(key => key.startsWith('T'))
    const out = await w.tap(told, ids.length ? ids : [T])
    assert.deepEqual([out.results, w.bodies()[0].results], [reported, reported])
    assert.equal(w.hook.balance(ALICE, T), balance, JSON.stringify(told))
    assert.equal(out.ignored.length, Object.values(reported).filter(status => !/^(accept|reject)/.test(status)).length)
  }
})

test('every failure of the panel has a name, and is reported by its code', async () => {
  for (const [code, name] of [
    [10001, 'no_templates'], [10002, 'network'], [10003, 'network_outcome_unknown'], [10004, 'wrong_type'], [10005, 'in_background'],
    [20001, 'unknown_template'], [20002, 'kinds_mixed'], [20003, 'too_many_templates'], [20004, 'main_switch_off'], [20005, 'app_banned'],
    [20013, 'device_template'], [-7, 'unknown'],
  ]) {
    const w = world()
    const promise = w.phone.tap(() => w.client.subscribe([T]))
    w.phone.panels[0].fail(code, 'for some reason')
    const out = await promise
    const message = 'requestSubscribeMessage:fail for some reason'
    assert.deepEqual(out.fail, { code, name, message })
    assert.deepEqual([out.results, out.pending, w.hook.balance(ALICE, T)], [{}, 0, 0])
    assert.deepEqual(w.bodies()[0].fail, { code, message })
  }
})

test('what the caller has to mend is told without a panel', async () => {
  const w = world()
  for (const [ids, code] of [
    [['A', 'B', 'C', 'D'], 'too_many_templates'], [[], 'no_templates'], ['T1', 'wrong_type'], [[7], 'wrong_type'], [[''], 'wrong_type'],
    [{ type: 'tap' }, 'wrong_type'], [null, 'wrong_type'],
  ]) {
    await assert.rejects(w.phone.tap(() => w.client.subscribe(ids)), error => error.code === code && /[一-龥]/.test(error.message), code)
  }
  await assert.rejects(w.phone.tap(() => w.client.subscribe([T], { fields: { a: 1n } })), TypeError)
  assert.equal(w.phone.panels.length, 0)
  const outside = async () => {
    await null
    return w.client.subscribe([T])
  }
  await assert.rejects(w.phone.tap(outside), error => error.code === 'not_in_tap' && /before any await/.test(error.message))
  assert.equal(w.bodies().length, 0, 'and nothing is reported')
  w.phone.tap(() => w.client.subscribe([T, 'T2', T, 'T3']))
  assert.deepEqual(w.phone.panels[0].tmplIds, [T, 'T2', 'T3'], 'the same id twice is one')
  for (const [options, code] of [
    [{ baseUrl: 'remind.example.com', wx: {} }, 'base_url'], [{ wx: {} }, 'base_url'], [{ baseUrl: 'https://a' }, 'no_wx'], [undefined, 'no_wx'],
  ]) {
    assert.throws(() => createClient(options), error => error.code === code)
  }
  const old = createClient({ baseUrl: 'https://a', wx: { ...w.phone.start(), requestSubscribeMessage: undefined } })
  await assert.rejects(old.subscribe([T]), error => error.code === 'old_wechat')
})

test('whatever happens on the way, a report is kept, sent again the same, and counts once', async () => {
  const page = '<html>log in to the hotel</html>'
  for (const [what, fault, why, n_sent] of [
    ['the request is lost', { lose: 'request' }, 'network', 1],
    ['the answer is lost', { lose: 'answer' }, 'network', 1],
    ['a proxy without a daemon', { status: 502, data: page }, 'status_502', 1],
    ['a page of the network', { status: 200, data: page }, 'status_200', 1],
    ['another program', { status: 200, data: { ok: true } }, 'status_200', 1],
    ['a 409 that is not ours', { status: 409, data: page }, 'status_409', 1],
    ['a 422 that is not ours', { status: 422, data: page }, 'status_422', 1],
    ['an app that is not configured', { status: 422, data: { code: 'unknown_app' } }, 'status_422', 1],
    ['a route that is gone', { status: 404, data: { code: 'not_found' } }, 'status_404', 1],
    ['a slow body', { status: 408, data: { code: 'slow_body' } }, 'status_408', 1],
    ['an error', { status: 500 }, 'status_500', 1],
    ['a broken body', { status: 400, data: { code: 'broken_body' } }, 'status_400', 1],
    ['too large', { status: 413, data: { code: 'too_large_body' } }, 'status_413', 1],
    ['a daemon whose disk fails', { status: 503, data: { code: 'unavailable' } }, 'busy', 1],
    ['a session that is over', { status: 401, data: { code: 'identity' } }, undefined, 2],
  ]) {
    const w = world()
    await w.client.login()
    w.hook.faults.push({ path: '/v1/consents', ...fault })
    const first = await w.tap()
    assert.deepEqual([first.pending, first.dropped], [n_sent === 2 ? 0 : 1, undefined], what)
    const flushed = await w.client.flush()
    assert.deepEqual([flushed.pending, flushed.why], [0, undefined], what)
    const ids = new Set(w.bodies().map(body => body.report))
    assert.deepEqual([w.bodies().length, ids.size, w.hook.balance(ALICE, T)], [2, 1, 1], what)
    assert.equal(w.client.known().balances[T], 1, what)
    // Told by itself why it waits.
    const again = world()
    await again.client.login()
    again.hook.faults.push({ path: '/v1/consents', ...fault })
    const promise = again.tap()
    assert.equal((await again.client.flush()).why, undefined)
    await promise
    again.hook.faults.push({ path: '/v1/consents', ...fault })
    if (why) assert.equal((await again.client.flush()).why, why, what)
  }
})

test('a report ends where the daemon says so, with the reason', async () => {
  const w = world()
  w.hook.faults.push({ path: '/v1/consents', status: 409, data: { code: 'conflict', detail: 'other content' } })
  const conflict = await w.tap()
  assert.deepEqual([conflict.pending, conflict.balances], [0, undefined])
  assert.deepEqual(conflict.dropped, [{ report: conflict.report, what: 'report', why: 'conflict', detail: 'other content' }])
  w.hook.faults.push({ path: '/v1/consents', status: 422, data: { code: 'malformed', detail: '`age_s` …' } })
  const malformed = await w.tap()
  assert.deepEqual([malformed.pending, malformed.dropped[0].why, malformed.dropped[0].what], [0, 'malformed', 'report'])
  assert.equal((await w.client.flush()).answered, 0, 'neither is sent again')
  const extras = { for: { kind: 'visit', id: 'A17' }, fields: { bad: 1 }, time_zone: 'Asia/Shanghai' }
  const mended = await w.tap({ [T]: 'accept' }, [T], extras)
  assert.deepEqual([mended.dropped[0].why, mended.dropped[0].what], ['not_for_sessions', 'extras'])
  assert.deepEqual([mended.balances, w.hook.balance(ALICE, T)], [{ [T]: 1 }, 1], 'the acceptance counts all the same')
  const [whole, bare] = w.bodies().slice(-2)
  assert.deepEqual(whole, { report: mended.report, age_s: 0, results: { [T]: 'accept' }, ...extras })
  assert.deepEqual(bare, { report: mended.report, age_s: 0, results: { [T]: 'accept' } })
})

test('what goes with a tap never costs the acceptance', async () => {
  for (const [what, fields, fault, why] of [
    ['more than the hook takes', { note: 'x'.repeat(70000) }, null, 'too_large_body'],
    ['half a character', { note: '😀'.slice(0, 1) }, null, 'not_json'],
    ['what a session may not set', { bad: 1 }, null, 'not_for_sessions'],
    ['more than a proxy takes', { note: 'x' }, { status: 413, data: '<html>' }, 'status_413'],
    ['a broken body', { note: 'x' }, { status: 400, data: { code: 'broken_body' } }, 'broken_body'],
  ]) {
    const w = world()
    await w.client.login()
    if (fault) w.hook.faults.push({ path: '/v1/consents', ...fault })
    const out = await w.tap({ [T]: 'accept' }, [T], { fields })
    assert.deepEqual([out.pending, out.balances, w.hook.balance(ALICE, T)], [0, { [T]: 1 }, 1], what)
    assert.deepEqual(out.dropped.map(dropped => [dropped.report, dropped.what, dropped.why]), [[out.report, 'extras', why]], what)
  }
  const w = world()
  await w.client.login()
  w.hook.faults.push({ path: '/v1/consents', status: 400, data: '<html>' })
  const out = await w.tap({ [T]: 'accept' }, [T], { fields: { note: 'x' } })
  assert.deepEqual([out.pending, out.dropped, (await w.client.flush()).dropped], [1, undefined, undefined], 'a page of another says nothing of them')
  assert.deepEqual(w.bodies().pop().fields, { note: 'x' })
  const promise = w.phone.tap(() => w.client.subscribe([T]))
  w.phone.panels.pop().fail(20004, 'x'.repeat(255 - 'requestSubscribeMessage:fail '.length) + '😀')
  assert.equal((await promise).pending, 0, 'nor is a character cut in two')
  assert.match(w.bodies().pop().fail.message, /x😀$/)
})

test('a first copy that was booked, though its answer was lost and its repetition refused, is not told as lost', async () => {
  const extras = { for: { kind: 'visit', id: 'A17' } }
  const gone = { path: '/v1/consents', status: 422, data: { code: 'unknown_appointment' } }
  const w = world()
  await w.client.login()
  w.hook.faults.push({ path: '/v1/consents', lose: 'answer' })
  assert.equal((await w.tap({ [T]: 'accept' }, [T], extras)).pending, 1)
  w.hook.faults.push(gone)
  assert.deepEqual(await w.client.flush(), { pending: 0, answered: 1 }, 'it was booked with all that went with it')
  assert.deepEqual([w.bodies().length, w.hook.balance(ALICE, T)], [3, 1])
  // Also by a program that starts later.
  w.hook.faults.push({ path: '/v1/consents', lose: 'answer' })
  await w.tap({ [T]: 'accept' }, [T], extras)
  w.hook.faults.push(gone, { path: '/v1/consents', lose: 'request' })
  await w.client.flush()
  assert.deepEqual([await w.start().flush(), w.hook.balance(ALICE, T)], [{ pending: 0, answered: 1 }, 2])
})

test('a session is renewed once, silently, and never without end', async () => {
  const w = world()
  await w.tap()
  w.hook.end_sessions()
  const out = await w.tap()
  assert.deepEqual([out.balances[T], w.hook.n_logins], [2, 2])
  for (let n = 0; n < 9; n += 1) w.hook.faults.push({ path: '/v1/consents', status: 401, data: { code: 'identity' } })
  const never = await w.tap()
  assert.deepEqual([never.pending, w.hook.n_logins], [1, 3], 'two refusals in a pass are enough')
  w.hook.faults.length = 0
  assert.equal((await w.ring()).pending, 0)
})

test('a login is tried with a second code, and by all who need it together', async () => {
  const w = world()
  w.hook.faults.push({ path: '/v1/login', status: 401, data: { code: 'code' } })
  const [a, b, c] = await Promise.all([w.client.login(), w.client.ask(), w.client.me()])
  assert.deepEqual([a.ask, b, c.balances, w.phone.requests.filter(r => r.url.includes('login')).length], [['T1'], ['T1'], {}, 2])
  for (const [fault, code] of [
    [{ status: 403, data: { code: 'risky_user' } }, 'risky_user'], [{ status: 503, data: { code: 'platform' } }, 'platform'],
    [{ lose: 'request' }, 'network'], [{ lose: 'answer' }, 'network'], [{ status: 200, data: 'a page' }, 'status_200'],
  ]) {
    w.start()
    w.hook.faults.push({ path: '/v1/login', ...fault })
    await assert.rejects(w.client.login(), error => error.code === code, code)
    assert.deepEqual(await w.client.login(), { ask: ['T1'] })
  }
  w.start()
  const phone = createPhone({ code: () => null, answer: w.hook.answer })
  const client = createClient({ baseUrl: 'https://a', wx: phone.start() })
  await assert.rejects(client.login(), error => error.code === 'wx_login')
  const promise = phone.tap(() => client.subscribe([T]))
  phone.panels[0].answer({ [T]: 'accept' })
  assert.equal((await promise).pending, 1)
})

test('a killed program loses nothing, and counts nothing twice', async () => {
  for (const [what, fault, balance_before] of [
    ['before the request arrives', { lose: 'request' }, 0], ['before the answer arrives', { lose: 'answer' }, 1],
  ]) {
    const w = world()
    await w.client.login()
    w.hook.faults.push({ path: '/v1/consents', ...fault, then: w.phone.kill })
    w.tap().then(() => assert.fail('nobody is there any more'))
    await until(() => w.phone.requests.length === 2 && w.hook.in_flight === 0)
    assert.equal(w.hook.balance(ALICE, T), balance_before, what)
    w.start()
    w.now += 3600 * 1000
    assert.deepEqual(await w.client.flush(), { pending: 0, answered: 1 }, what)
    assert.deepEqual([w.hook.balance(ALICE, T), w.hook.n_reports(ALICE)], [1, 1], what)
    assert.deepEqual(w.bodies().map(body => body.age_s), [0, 3600], what)
  }
  const w = world()
  w.phone.tap(() => w.client.subscribe([T]))
  w.start()
  assert.deepEqual(await w.client.flush(), { pending: 0, answered: 0 }, 'a panel that nobody answered is no acceptance')
})

test('an age is made anew at each sending, and no step of the clock spoils it', async () => {
  for (const [what, steps, age_s] of [
    ['as it passes', [90], 90],
    ['set back by an hour', [-3600], 0],
    ['set back on the way', [100, -3600, 50], 150],
    ['set back by years', [-900 * DAY_S, 10], 10],
    ['179 days', [179 * DAY_S], 179 * DAY_S],
    ['180 days', [180 * DAY_S], 180 * DAY_S],
    ['more than the daemon takes', [180 * DAY_S + 1], null],
    ['set to the next century', [100 * 365 * DAY_S], null],
  ]) {
    const w = world()
    await w.client.login()
    w.hook.faults.push(...steps.map(() => ({ path: '/v1/consents', lose: 'request' })))
    await w.tap()
    let last
    for (const [at, step] of steps.entries()) {
      w.now += step * 1000
      if (at === steps.length - 1) w.hook.faults.length = 0
      if (at % 2) w.start()
      last = await w.client.flush()
    }
    assert.equal(last.pending, 0, what)
    if (age_s === null) {
      assert.deepEqual(last.dropped.map(dropped => dropped.why), ['too_old'], what)
      assert.equal(w.hook.balance(ALICE, T), 0, what)
    } else {
      assert.deepEqual(w.bodies().pop().age_s, age_s, what)
      assert.equal(w.hook.balance(ALICE, T), 1, what)
    }
    assert.ok(w.bodies().every(body => Number.isInteger(body.age_s) && body.age_s >= 0 && body.age_s <= 15552000), what)
  }
})

test('an answer is kept only for a tap that waits for it', async () => {
  v8.setFlagsFromString('--expose-gc')
  const collect = vm.runInNewContext('gc')
  const w = world()
  const platform = w.phone.start()
  const told = []
  const wx = { ...platform, request: options => platform.request({ ...options, success: answer => {
    if (answer.data.report) told.push(new WeakRef(answer.data))
    options.success(answer)
  } }) }
  w.client = createClient({ baseUrl: 'https://remind.example.com', wx })
  await w.client.login()
  w.hook.faults.push({ path: '/v1/consents', lose: 'request' })
  assert.equal((await w.tap()).pending, 1)
  assert.equal((await w.client.flush()).answered, 1)
  assert.equal((await w.tap()).balances[T], 2)
  for (let n = 0; n < 3; n += 1) {
    await new Promise(setImmediate)
    collect()
  }
  assert.deepEqual(told.map(answer => answer.deref()), [undefined, undefined])
})

test('two quick taps are two reports, or one and a panel that is open', async () => {
  const w = world()
  const both = await Promise.all([w.tap(), w.tap()])
  assert.equal(new Set(both.map(out => out.report)).size, 2)
  assert.deepEqual([w.hook.balance(ALICE, T), w.hook.in_flight_max, w.hook.n_logins], [2, 1, 1])
  assert.deepEqual(both.map(out => out.balances[T]).sort(), [1, 2])
  const first = w.phone.tap(() => w.client.subscribe([T]))
  const second = await w.phone.tap(() => w.client.subscribe([T]))
  assert.deepEqual([second.fail.code, second.fail.name, second.results, w.bodies().length], [null, 'panel_open', {}, 2])
  w.phone.panels[0].answer({ [T]: 'accept' })
  assert.equal((await first).balances[T], 3)
  const a = w.client.flush()
  const b = w.client.flush()
  assert.deepEqual(await Promise.all([a, b]), [{ pending: 0, answered: 0 }, { pending: 0, answered: 0 }])
})

test('a tap that is answered while the queue is sent is sent too, in whatever turn', async () => {
  for (const make of [createClient, createClientWith(OldPromise)]) {
    for (let n_turns = 0; n_turns < 60; n_turns += 1) {
      const w = world({}, make)
      const what = `after ${n_turns} turns with ${make === createClient ? 'a' : 'an old'} Promise`
      await w.client.login()
      const first = w.tap()
      const second = w.phone.tap(() => w.client.subscribe(['T2']))
      const panel = w.phone.panels.pop()
      for (let n = 0; n < n_turns; n += 1) await new Promise(setImmediate)
      panel.answer({ T2: 'accept' })
      assert.equal((await first).balances[T], 1, what)
      assert.deepEqual([(await second).pending, (await second).balances, w.armed()], [0, { [T]: 1, T2: 1 }, []], what)
    }
  }
})

test('a full queue shows no panel, so that no acceptance is lost', async () => {
  const w = world()
  await w.client.login()
  const lose = () => { w.hook.faults = Array.from({ length: 200 }, () => ({ path: '/v1/consents', lose: 'request' })) }
  lose()
  for (let n = 0; n < 50; n += 1) await w.tap()
  await assert.rejects(w.phone.tap(() => w.client.subscribe([T])), error => error.code === 'full')
  assert.equal(w.phone.panels.length, 0)
  w.hook.faults.length = 0
  assert.deepEqual(await w.client.flush(), { pending: 0, answered: 50 })
  assert.equal((await w.tap()).balances[T], 51)
})

test('no report is ever sent in the name of another person', async () => {
  // Whether it is known at the tap who taps, whether anybody logged in here before, and who comes next.
  for (const [what, logged_in, before, next, alice, bob] of [
    ['known, and the same person comes', true, null, ALICE, 1, 0],
    ['known, and another comes', true, null, BOB, 0, 0],
    ['not known, nobody was here before', false, null, ALICE, 1, 0],
    ['not known, the same was here before', false, ALICE, ALICE, 1, 0],
    ['not known, and another comes than was here before', false, ALICE, BOB, 0, 0],
  ]) {
    const w = world()
    if (before) {
      w.hook.openid = before
      await w.client.login()
      w.start()
    }
    w.hook.openid = ALICE
    if (logged_in) await w.client.login()
    const lost = logged_in ? { path: '/v1/consents', lose: 'request' } : { path: '/v1/login', lose: 'request' }
    w.hook.faults.push(lost)
    assert.equal((await w.tap()).pending, 1, what)
    w.start()
    w.hook.openid = next
    await w.client.login()
    const { pending } = await w.client.flush()
    assert.deepEqual([pending, w.hook.balance(ALICE, T), w.hook.balance(BOB, T)], [0, alice, bob], what)
    if (logged_in && next === BOB) {
      assert.equal((await w.tap()).balances[T], 1, 'his own')
      w.start()
      w.hook.openid = ALICE
      await w.client.login()
      assert.deepEqual(w.client.known(), { ask: ['T1'], balances: {} }, 'she is not told his')
      await w.client.flush()
      assert.deepEqual([w.hook.balance(ALICE, T), w.hook.balance(BOB, T)], [1, 1], 'hers was kept for her')
    }
  }
  // Where another was here before, the login that follows in the same run still says who tapped.
  const run = world()
  run.hook.openid = BOB
  await run.client.login()
  run.start()
  run.hook.openid = ALICE
  run.hook.faults.push({ path: '/v1/login', lose: 'request' })
  assert.equal((await run.tap()).pending, 1)
  await run.client.flush()
  assert.deepEqual([run.hook.balance(ALICE, T), run.hook.balance(BOB, T)], [1, 0])
  // Even if he changed under a running program.
  const w = world()
  await w.client.login()
  w.hook.faults.push({ path: '/v1/consents', lose: 'request' })
  await w.tap()
  w.hook.openid = BOB
  w.hook.end_sessions()
  await w.client.flush()
  assert.deepEqual([w.hook.balance(ALICE, T), w.hook.balance(BOB, T)], [0, 0])
})

test('a Retry-After is kept to, and the wait without one grows', async () => {
  for (const [header, low, high] of [
    [{ 'Retry-After': '30' }, 30, 36], [{ 'retry-after': 30 }, 30, 36], [{ 'RETRY-AFTER': '999999' }, 3600, 4320],
    [{ 'Retry-After': 'Wed, 21 Oct 2026 07:28:00 GMT' }, 1, 2], [{}, 1, 2], [{ 'Retry-After': '0' }, 1, 1.2],
  ]) {
    const w = world()
    await w.client.login()
    w.hook.faults.push({ path: '/v1/consents', status: 429, data: { code: 'rate' }, header })
    await w.tap()
    const [timer] = w.armed()
    assert.ok(timer.ms >= low * 1000 && timer.ms <= high * 1000, `${JSON.stringify(header)}: ${timer.ms}`)
    if (low > 2) {
      const n = w.phone.requests.length
      const barred = await w.client.flush()
      assert.deepEqual([barred.pending, barred.why, w.phone.requests.length], [1, 'busy', n], 'nothing leaves until then')
      assert.equal((await w.tap()).pending, 2)
      assert.equal(barred.retry_in_s, Math.ceil(timer.ms / 1000))
      w.now += 20 * 1000
      assert.equal((await w.client.flush()).retry_in_s, Math.ceil(timer.ms / 1000 - 20), 'what is left of it')
    }
    assert.equal((await w.ring()).pending, 0)
    assert.equal(w.armed().length, 0)
  }
  const short = world()
  await short.client.login()
  short.hook.faults.push({ path: '/v1/consents', status: 503, header: { 'Retry-After': '2' } })
  assert.equal((await short.tap()).pending, 1)
  let n_ended = 0
  const waits_for = [short.client.flush(), short.client.flush()]
  waits_for.forEach(flush => flush.then(() => { n_ended += 1 }))
  await until(() => true)
  assert.deepEqual([n_ended, short.bodies().length], [0, 1], 'a short one is waited for')
  assert.equal((await short.tap()).pending, 2, 'but nobody waits in a tap')
  await short.ring()
  assert.deepEqual((await Promise.all(waits_for)).map(flushed => flushed.pending), [0, 0])
  assert.equal(short.bodies().length, 3)
  const w = world()
  await w.client.login()
  w.hook.faults = Array.from({ length: 99 }, () => ({ path: '/v1/consents', lose: 'request' }))
  await w.tap()
  const waits = []
  for (let n = 0; n < 12; n += 1) {
    assert.equal(w.armed().length, 1)
    waits.push(w.armed()[0].ms / 1000)
    await w.ring()
  }
  waits.forEach((wait, n) => assert.ok(wait > Math.min(300, 2 ** (n + 1)) / 2.001 && wait <= Math.min(300, 2 ** (n + 1)), `${n}: ${wait}`))
  w.now -= 900 * DAY_S * 1000
  w.hook.faults.length = 0
  assert.equal((await w.client.flush()).pending, 0, 'an open hand is not barred by it')
  w.hook.faults.push({ path: '/v1/consents', status: 503, header: { 'Retry-After': '60' } })
  await w.tap()
  w.now -= DAY_S * 1000
  assert.equal((await w.client.flush()).pending, 0, 'nor does a clock set back make a wait longer')
})

test('no request is given up before the daemon gives it up', async () => {
  const server = fs.readFileSync(path.join(__dirname, '../src/hook/server.rs'), 'utf8')
  const answer_s = Number(server.match(/const ANSWER: Duration = Duration::from_secs\((\d+)\)/)[1])
  const w = world()
  await w.tap()
  await w.client.me()
  assert.deepEqual(w.phone.requests.map(asked => asked.timeout > answer_s * 1000), [true, true, true])
})

test('one bad report does not hold up the others', async () => {
  const w = world()
  await w.client.login()
  w.hook.faults.push({ path: '/v1/consents', lose: 'request' })
  await w.tap()
  w.hook.faults.push({ path: '/v1/consents', status: 413, data: { code: 'too_large_body' } })
  const out = await w.tap({ T2: 'accept' })
  assert.deepEqual([out.pending, out.balances], [1, { T2: 1 }])
})

test('a storage that takes or gives nothing is told, and what it held is not written over', async () => {
  const w = world()
  await w.client.login()
  w.phone.storage_writes = false
  assert.deepEqual((await w.tap()).balances, { [T]: 1 }, 'it is sent all the same')
  w.hook.faults.push({ path: '/v1/consents', lose: 'request' })
  const out = await w.tap()
  assert.deepEqual([out.pending, out.unsaved], [1, true])
  w.phone.storage_writes = true
  w.hook.faults.push({ path: '/v1/consents', lose: 'request' })
  assert.deepEqual([(await w.tap()).unsaved, (await w.client.flush()).pending], [undefined, 0])
  assert.equal(w.hook.balance(ALICE, T), 3)

  w.hook.faults.push({ path: '/v1/consents', lose: 'request' })
  await w.tap()
  w.start()
  w.phone.storage_reads = false
  await w.tap()
  w.phone.storage_reads = true
  w.start()
  await w.client.flush()
  assert.equal(w.hook.balance(ALICE, T), 5, 'what was there before is still there')
  for (const junk of ['text', 7, [], { v: 2 }, { v: 1 }, { v: 1, reports: [null, {}, { report: 'r', said: { results: {} } }] }]) {
    const w = world()
    w.phone.start().setStorageSync('tixing https://remind.example.com', junk)
    assert.equal((await w.start().flush()).pending, 0, JSON.stringify(junk))
    assert.equal((await w.tap()).balances[T], 1, JSON.stringify(junk))
  }
})

test('two clients of one program see each other\'s reports', async () => {
  const w = world()
  const platform = w.phone.start()
  const [one, other] = [0, 1].map(() => createClient({ baseUrl: 'https://remind.example.com', wx: platform }))
  await one.login()
  w.hook.faults.push({ path: '/v1/consents', lose: 'request' })
  w.client = one
  await w.tap()
  w.client = other
  await w.tap()
  assert.deepEqual([w.hook.balance(ALICE, T), (await one.flush()).pending], [2, 0])
  // Also while the storage takes nothing.
  const lose = () => w.hook.faults.push({ path: '/v1/consents', lose: 'request' })
  w.phone.storage_writes = false
  w.client = one
  lose()
  await w.tap()
  w.phone.storage_writes = true
  w.client = other
  lose()
  assert.equal((await w.tap()).pending, 2)
  await one.flush()
  assert.deepEqual([(await other.flush()).pending, w.hook.balance(ALICE, T)], [0, 4])
  const elsewhere = createClient({ baseUrl: 'https://test.example.com', wx: platform })
  assert.deepEqual(elsewhere.known(), { ask: [], balances: {} }, 'what is for one daemon is for no other')
})

test('what the READMEs show stands a report that waits, and a tap that WeChat does not take for one', async () => {
  for (const file of ['README.md', 'README.zh-CN.md']) {
    const w = world()
    const { app, page } = readme(file)
    const program = startProgram(w.phone, {}, { app, page: page.replace('TEMPLATE_ID', T) })
    w.client = { subscribe: () => program.onTapRemind() }
    w.hook.faults.push({ path: '/v1/consents', lose: 'request' })
    await w.tap()
    assert.deepEqual(program.data, { results: { [T]: 'accept' }, balances: {}, pending: 1 }, file)
    await w.tap()
    assert.deepEqual(program.data, { results: { [T]: 'accept' }, balances: { [T]: 2 }, pending: 0 }, file)
    await program.onTapRemind()
    assert.match(program.data.hint, /before any await/, file)
  }
})

test('the settings tell the switch and what is always kept', async () => {
  const w = world()
  for (const [setting, expected] of [
    [{ mainSwitch: true, itemSettings: { [T]: 'accept', T2: 'reject', T3: 'ban' } }, { mainSwitch: true, kept: { [T]: 'accept', T2: 'reject', T3: 'ban' } }],
    [{ mainSwitch: false }, { mainSwitch: false, kept: {} }],
    [{ mainSwitch: true, [T]: 'acceptWithAlert' }, { mainSwitch: true, kept: { [T]: 'acceptWithAlert' } }],
    [undefined, { mainSwitch: true, kept: {} }],
  ]) {
    w.phone.subscriptions = setting
    assert.deepEqual(await w.client.settings(), expected)
  }
})

test('a person reads himself, and takes himself out', async () => {
  const w = world()
  await w.tap()
  w.hook.end_sessions()
  assert.deepEqual(await w.client.me(), { balances: { [T]: 1 }, upcoming: [], muted: false })
  w.hook.ask = ['T5']
  assert.deepEqual(await w.client.ask(), ['T5'])
  assert.deepEqual(w.client.known().ask, ['T5'])
  w.hook.faults.push({ path: '/v1/ask', status: 503 }, { path: '/v1/consents', lose: 'request' })
  await assert.rejects(w.client.ask(), error => error.status === 503)
  await w.tap()
  await w.client.forget()
  assert.deepEqual([await w.client.flush(), w.client.known()], [{ pending: 0, answered: 0 }, { ask: [], balances: {} }])
})

test('a person takes himself out of all mini programs of one daemon', async () => {
  const urls = []
  for (const app of [undefined, 'clinic']) {
    const w = world({ app })
    await w.tap()
    await w.client.forget({ allApps: true })
    urls.push(...w.hook.asked.filter(asked => asked.startsWith('DELETE')))
  }
  assert.deepEqual(urls, ['DELETE?apps=all', 'DELETE?app=clinic&apps=all'])
})

test('nothing is logged, and no session, code or openid is kept', async () => {
  const w = world()
  w.hook.faults.push({ path: '/v1/consents', lose: 'answer' }, { path: '/v1/consents', status: 500 })
  await w.tap()
  await w.client.flush()
  await w.client.flush()
  assert.equal(w.hook.balance(ALICE, T), 1)
  w.hook.faults.push({ path: '/v1/consents', status: 500 })
  await w.tap()
  await assert.rejects(w.phone.tap(() => w.client.subscribe([])))
  const texts = w.phone.stored()
  assert.deepEqual(w.told, [])
  assert.match(texts, /"reports":\[\{/)
  for (const secret of [...w.hook.sessions(), 'CODE', 'CANARY']) assert.ok(!texts.includes(secret), secret)
})

test('what the check installs is pinned, and the lock file names no host', () => {
  const lock = require('./package-lock.json')
  const packages = Object.entries(lock.packages).filter(([name]) => name !== '')
  assert.ok(packages.length >= 2)
  for (const [name, entry] of packages) assert.deepEqual([entry.resolved, /^sha512-/.test(entry.integrity)], [undefined, true], name)
  const { devDependencies, dependencies } = require('./package.json')
  assert.deepEqual([devDependencies, dependencies], [lock.packages[''].devDependencies, undefined])
  for (const [name, version] of Object.entries(devDependencies)) assert.match(version, /^\d+\.\d+\.\d+$/, name)
})
