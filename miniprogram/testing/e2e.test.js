// The client against the real daemon: whatever is cut, killed or started anew, the daemon's books have each acceptance once.
'use strict'

const { after, before, test } = require('node:test')
const assert = require('node:assert/strict')
const { createClient } = require('../tixing.js')
const { example, readme, shown, startProgram } = require('./example.js')
const { TEMPLATE, createDemo, createNetwork, createRealPhone } = require('./real.js')

const REPORT = '/v1/consents'
let demo
let network

before(async () => {
  demo = await createDemo()
  network = await createNetwork(demo)
})
after(async () => {
  if (network) await network.end()
  if (demo) await demo.end()
})

/** One person more with a phone of his own. */
function somebody(name) {
  const phone = createRealPhone(demo)
  phone.openid = demo.person + name
  return { phone, openid: phone.openid, client: started(phone) }
}

function started(phone) {
  return createClient({ baseUrl: network.url, app: 'demo', wx: phone.start() })
}

/** Both books hold `n` acceptances of him. */
async function holds(openid, n, what) {
  assert.deepEqual(await demo.consents(openid), { granted: n, available: n, remaining: n }, what)
}

test('a person logs in, accepts, refuses, reads what comes, and leaves', async () => {
  const { phone, client, openid } = somebody('a')
  assert.deepEqual(await client.login(), { ask: [TEMPLATE] })
  const first = await phone.subscribe(client, 'accept')
  assert.deepEqual([first.results, first.balances, first.pending, first.ignored], [{ [TEMPLATE]: 'accept' }, { [TEMPLATE]: 1 }, 0, []])
  assert.equal(first.duplicate, undefined)
  const refused = await phone.subscribe(client, 'reject', { time_zone: 'Asia/Shanghai' })
  assert.deepEqual([refused.results, refused.balances, refused.ignored], [{ [TEMPLATE]: 'reject' }, { [TEMPLATE]: 1 }, []])
  const me = await client.me()
  assert.deepEqual([me.balances, me.time_zone, me.upcoming[0].template], [{ [TEMPLATE]: 1 }, 'Asia/Shanghai', TEMPLATE])
  assert.deepEqual([await client.ask(), client.known().ask], [[TEMPLATE], [TEMPLATE]])
  const fail = phone.tap(() => client.subscribe([TEMPLATE]))
  phone.panels.pop().fail(20004, 'main switch is off')
  assert.deepEqual([(await fail).fail.name, (await fail).pending, (await fail).balances], ['main_switch_off', 0, { [TEMPLATE]: 1 }])
  const extras = await phone.subscribe(client, 'accept', { fields: { nickname: 'x' }, for: { kind: 'visit', id: 'nobodys' } })
  assert.deepEqual([extras.balances, extras.dropped[0].what], [{ [TEMPLATE]: 2 }, 'extras'], 'what the daemon refuses beside it costs no acceptance')
  await holds(openid, 2)
  await client.forget()
  assert.deepEqual((await client.me()).balances[TEMPLATE] || 0, 0)
})

test('an answer that is cut off is asked for again, and the report counts once', async () => {
  const { phone, client, openid } = somebody('b')
  const cut = network.cut(REPORT, 'answered')
  const lost = await phone.subscribe(client, 'accept')
  await cut
  assert.deepEqual([lost.pending, lost.balances], [1, undefined])
  assert.equal(network.answers.pop().duplicate, undefined, 'it was booked, and nobody heard')
  assert.deepEqual(await client.flush(), { pending: 0, answered: 1 })
  const again = network.answers.pop()
  assert.deepEqual([again.duplicate, again.report, again.balances], [true, lost.report, { [TEMPLATE]: 1 }])
  assert.deepEqual(client.known().balances, { [TEMPLATE]: 1 })
  await holds(openid, 1)
})

test('a login whose answer is cut off is made with a new code', async () => {
  const { phone, client, openid } = somebody('c')
  network.cut('/v1/login', 'answered')
  assert.equal((await phone.subscribe(client, 'accept')).pending, 1)
  assert.deepEqual(await client.flush(), { pending: 0, answered: 1 })
  await holds(openid, 1)
})

test('a killed program reports at its next start', async () => {
  const { phone, openid, client } = somebody('d')
  await client.login()
  for (const [n, when] of ['sent', 'answered'].entries()) {
    const cut = network.cut(REPORT, when).then(phone.kill)
    phone.subscribe(n === 0 ? client : started(phone), 'accept').then(() => assert.fail('nobody is there any more'))
    await cut
    assert.match(phone.stored(), /"report":/)
    assert.deepEqual(await started(phone).flush(), { pending: 0, answered: 1 }, when)
    await holds(openid, n + 1, when)
  }
})

test('a daemon that is killed on the way counts each once', async () => {
  const { phone, client, openid } = somebody('e')
  let n = 0
  for (const when of ['sent', 'answered', 'sent']) {
    const killed = network.cut(REPORT, when).then(demo.kill)
    assert.equal((await phone.subscribe(client, 'accept')).pending, 1, when)
    n += 1
    await killed
    assert.deepEqual((await client.flush()).pending, 1, 'nobody answers')
    await demo.start()
    // Its login is still good: sessions outlive the daemon.
    assert.deepEqual(await client.flush(), { pending: 0, answered: 1 }, when)
    await holds(openid, n, when)
  }
})

test('two quick taps are two acceptances', async () => {
  const { phone, client, openid } = somebody('f')
  network.cut(REPORT, 'answered')
  const [one, other] = await Promise.all([phone.subscribe(client, 'accept'), phone.subscribe(client, 'accept')])
  assert.equal(other.fail.name, 'panel_open', 'the panel of the first is open')
  assert.equal(one.pending, 1)
  await phone.subscribe(client, 'accept')
  await phone.subscribe(client, 'accept')
  assert.equal((await client.flush()).pending, 0)
  await holds(openid, 3)
})

test('who taps more often than the daemon takes in a minute loses nothing', async () => {
  const { phone, client, openid } = somebody('k')
  for (let n = 1; n <= 10; n += 1) assert.equal((await phone.subscribe(client, 'accept')).pending, 0)
  const busy = await phone.subscribe(client, 'accept')
  assert.equal(busy.pending, 1)
  assert.match(phone.stored(), new RegExp(busy.report))
  assert.equal((await demo.consents(openid)).granted, 10)
})

test('what one person tapped is not booked for another', async () => {
  const { phone, client, openid } = somebody('g')
  await client.login()
  network.cut(REPORT, 'sent')
  assert.equal((await phone.subscribe(client, 'reject')).pending, 1)
  await phone.subscribe(client, 'accept')
  network.cut(REPORT, 'sent')
  const last = await phone.subscribe(client, 'accept')
  assert.equal(last.pending, 1)
  // The same storage, though WeChat would not give it him.
  phone.openid = demo.person + 'h'
  const other = started(phone)
  await other.login()
  assert.deepEqual(await other.flush(), { pending: 0, answered: 0 })
  assert.equal((await phone.subscribe(other, 'accept')).balances[TEMPLATE], 1)
  await holds(phone.openid, 1)
  phone.openid = openid
  const back = started(phone)
  await back.login()
  assert.equal((await back.flush()).pending, 0)
  await holds(openid, 2)
})

test('the example does what it shows', async () => {
  const { phone, openid } = somebody('i')
  const [index] = JSON.parse(example('app.json')).pages
  const start = () => startProgram(phone, { baseUrl: network.url }, { app: example('app.js'), page: example(index + '.js') })
  const page = start()
  const { handlers, names } = shown(example(index + '.wxml'))
  assert.deepEqual([handlers, names], [['onTapRemind'], Object.keys(page.data).sort()])
  await page.refresh()
  assert.deepEqual([page.data.ask, page.data.balances[0].n, page.data.pending], [[TEMPLATE], 0, 0])
  const tapped = (page, answer) => phone.subscribe({ subscribe: () => page.onTapRemind() }, answer)
  await tapped(page, 'accept')
  assert.deepEqual([page.data.balances, page.data.hint], [[{ id: TEMPLATE, name: TEMPLATE, n: 1 }], ''])
  assert.match(page.data.upcoming[0].at, /^\d+-\d\d \d\d:\d\d$/)
  await tapped(page, 'reject')
  assert.deepEqual([page.data.balances[0].n, page.data.settings], [1, true])
  network.cut(REPORT, 'answered')
  network.cut(REPORT, 'answered')
  await tapped(page, 'accept')
  assert.deepEqual([page.data.pending, page.data.balances[0].n], [1, 2], 'the daemon has it, though its answer never came')
  const next = start()
  assert.equal(next.data.balances[0].n, 2, 'what was said last shows at once')
  await next.refresh()
  assert.deepEqual([next.data.balances[0].n, next.data.pending], [2, 0])
  await holds(openid, 2)
})

test('what the README shows does what it says', async () => {
  const { phone, openid } = somebody('j')
  const { app, page } = readme()
  const program = startProgram(phone, { baseUrl: network.url }, { app, page: page.replace('TEMPLATE_ID', TEMPLATE) })
  await phone.subscribe({ subscribe: () => program.onTapRemind() }, 'accept')
  assert.deepEqual(program.data, { results: { [TEMPLATE]: 'accept' }, balances: { [TEMPLATE]: 1 }, pending: 0 })
  await holds(openid, 1)
})

test('the books balance at the end', () => {
  assert.equal(demo.tixing('fsck')[0].ok, true)
})
