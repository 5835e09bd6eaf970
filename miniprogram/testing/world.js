// A phone, a daemon, and time that is moved by hand: what the client's tests are told in.
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const { test: run } = require('node:test')
const { createClient } = require('../tixing.js')
const { createPhone } = require('./wx-stub.js')
const { createHook } = require('./fake-hook.js')

const ALICE = 'oCANARYalice01'
const BOB = 'oCANARYbob0001'
const T = 'T1'
const real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout, console: globalThis.console }
const real_now = Date.now

/** A test after which clock, timers and console are the real ones again. */
function test(name, body) {
  run(name, async () => {
    try {
      await body()
    } finally {
      Object.assign(globalThis, real)
      Date.now = real_now
    }
  })
}

/** The client as it runs where `Promise` is another than Node's. */
function createClientWith(Promise) {
  const module = { exports: {} }
  new Function('module', 'Promise', fs.readFileSync(path.join(__dirname, '../tixing.js'), 'utf8'))(module, Promise)
  return module.exports.createClient
}

/** A phone, a daemon, and a clock and timers that are moved by hand; the client is made by `make`. */
function world(options, make = createClient) {
  const hook = createHook()
  const phone = createPhone({ code: hook.code, answer: hook.answer })
  const w = { hook, phone, now: 1800000000000, timers: [], told: [] }
  Date.now = () => w.now
  globalThis.setTimeout = (run, ms) => {
    const timer = { run, ms, on: true }
    w.timers.push(timer)
    return timer
  }
  globalThis.clearTimeout = timer => { if (timer) timer.on = false }
  globalThis.console = new Proxy({}, { get: (_, name) => (...words) => w.told.push([name, ...words]) })
  /** Starts the program. */
  w.start = more => {
    w.timers.forEach(timer => { timer.on = false })
    w.client = make({ baseUrl: 'https://remind.example.com/', ...options, ...more, wx: phone.start() })
    return w.client
  }
  /** A tap on a button that asks for `ids`, and on the panel: what to answer, or a fail code. */
  w.tap = (answer = { [T]: 'accept' }, ids = Object.keys(answer), extras = undefined) => {
    const promise = phone.tap(() => w.client.subscribe(ids, extras))
    const panel = phone.panels.pop()
    if (panel) panel.answer(answer)
    return promise
  }
  w.armed = () => w.timers.filter(timer => timer.on)
  /** Lets the timer that waits go off, and what it begins end. */
  w.ring = async () => {
    const [timer] = w.armed()
    timer.on = false
    w.now += timer.ms
    timer.run()
    return w.client.flush()
  }
  w.bodies = () => phone.requests.filter(r => r.url.includes('/v1/consents')).map(r => JSON.parse(r.body))
  w.client = w.start()
  return w
}

/** Waits, turn by turn, until `seen` says so: what was begun needs a few turns and no time. */
async function until(seen) {
  for (let n = 0; n < 1000; n += 1) {
    await new Promise(setImmediate)
    if (n >= 3 && seen()) return
  }
  throw new Error('waited in vain')
}

module.exports = { ALICE, BOB, T, createClientWith, test, until, world }
