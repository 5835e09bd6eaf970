// The real daemon with the fake platform (`tixing demo`), a phone that reaches it by real HTTP, and a network between them that cuts.
//
// The demo's rules are paused, or some of them, so that its books hold what the taps gave and nothing else. Programs end with their test.
'use strict'

const { execFileSync, spawn, spawnSync } = require('node:child_process')
const { createHmac, randomUUID } = require('node:crypto')
const fs = require('node:fs')
const http = require('node:http')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const { createPhone } = require('./wx-stub.js')

const BIN = path.resolve(process.env.TIXING_BIN || path.join(__dirname, '../../target/release/tixing'))
/** As src/cli/demo names them. */
const APPID = 'wxdemo0123456789ab'
const TEMPLATE = 'HABITdemo0123456789abcdefghijklmnopqrstuvwx'

/** A demo over a folder of its own; `kill` and `start` keep the folder. `pause` are words for what is paused: all of it without. */
async function createDemo({ pause = [] } = {}) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tixing-client-'))
  const config = path.join(folder, 'tixing.yaml')
  const person = 'oCANARYclient-' + process.pid.toString(36)
  // What must appear in no log has the word that the search of all logs looks for.
  fs.writeFileSync(path.join(folder, 'person'), person)
  fs.writeFileSync(path.join(folder, 'secret'), 'CANARYsecret-' + process.pid.toString(36))
  let child = null
  let paused = false
  process.once('exit', () => { if (child) child.kill('SIGKILL') })
  const demo = {
    person,
    folder,
    hook: '',
    /** What the daemon's command line answers; a list of its JSON lines. */
    tixing: (...words) => execFileSync(BIN, [...words, '--config', config, '--json'], { encoding: 'utf8' })
      .split('\n').filter(Boolean).map(line => JSON.parse(line)),
    /** Where the hook listens; a paused daemon's status exits 1. */
    hook_now() {
      const { stdout } = spawnSync(BIN, ['status', '--config', config, '--json'], { encoding: 'utf8' })
      return JSON.parse(stdout).hook
    },
    async start() {
      const log = process.env.TIXING_LOGS ? fs.openSync(path.join(process.env.TIXING_LOGS, 'client-demo.log'), 'a') : 'ignore'
      child = spawn(BIN, ['demo', '--listen', '127.0.0.1:0', '--state', folder],
        { stdio: ['ignore', 'pipe', log], env: { ...process.env, RUST_LOG: 'trace' } })
      await new Promise((resolve, reject) => {
        child.once('error', reject)
        child.once('exit', code => reject(new Error('the demo ended: ' + code)))
        child.stdout.once('data', resolve)
      })
      demo.hook = demo.hook_now()
      if (!paused) demo.tixing('pause', ...pause) // it outlives the daemon
      paused = true
    },
    /** SIGKILL; on return it is gone. */
    async kill() {
      const gone = new Promise(resolve => child.once('exit', resolve))
      child.kill('SIGKILL')
      await gone
    },
    async end() {
      if (child && child.exitCode === null && child.signalCode === null) await demo.kill()
      fs.rmSync(folder, { recursive: true, force: true })
    },
    /** An order to the sandbox, or a question. */
    async sandbox(method, name, body) {
      const base = /base_url: (\S+)/.exec(fs.readFileSync(config, 'utf8'))[1]
      const { statusCode, text } = await exchange({ url: base + '/sandbox/' + name, method, header: {}, body: body && JSON.stringify(body) })
      if (statusCode !== 200) throw new Error(name + ': ' + text)
      return JSON.parse(text)
    },
    /** A request of the mini program's backend, signed with its key. */
    async backend(method, target, document) {
      const body = JSON.stringify(document)
      const key = Buffer.from(demo.secret('hook-key').replace('whsec_', ''), 'base64')
      const id = randomUUID()
      const at = Math.floor(Date.now() / 1000)
      const mac = createHmac('sha256', key).update(`${id}.${at}.${method} ${target}\n${body}`).digest('base64')
      const header = { 'webhook-id': id, 'webhook-timestamp': String(at), 'webhook-signature': 'v1,' + mac }
      const { statusCode, text } = await exchange({ url: `http://${demo.hook}${target}`, method, header, body })
      if (statusCode !== 200) throw new Error(target + ': ' + text)
      return JSON.parse(text)
    },
    /** A secret that the demo made. */
    secret: name => fs.readFileSync(path.join(folder, name), 'utf8').trim(),
    /** From now on WeChat's events come to `url`, by the demo's own keys. */
    push: (url, mode, form) => demo.sandbox('POST', 'push',
      { appid: APPID, url, token: demo.secret('push-token'), aes_key: demo.secret('push-key'), mode, form }),
    /** What a tap on WeChat's panel gives. */
    panel: async (openid, answer) =>
      (await demo.sandbox('POST', 'tap', { appid: APPID, openid, template: TEMPLATE, answer, keep: 'once' })).status,
    /** Consents of a person: in the daemon's books, and in the platform's. */
    async consents(openid) {
      const [row] = demo.tixing('consents', 'show', '--openid', openid)
      const { remaining } = await demo.sandbox('GET', `remaining?appid=${APPID}&openid=${openid}&template=${TEMPLATE}`)
      return { granted: row ? row.granted : 0, available: row ? row.available : 0, remaining }
    },
  }
  try {
    await demo.start()
  } catch (error) {
    await demo.end()
    throw error
  }
  return demo
}

/** A proxy to the demo's hook, which takes one request a connection. */
async function createNetwork(demo) {
  const network = { cuts: [], answers: [], url: '' }
  const server = net.createServer(client => {
    client.on('error', () => {})
    let asked = ''
    let up = null
    client.on('data', piece => {
      asked += piece.toString('latin1')
      if (up || !isWhole(asked)) return
      const target = asked.split(' ')[1].split('?')[0]
      const at = network.cuts.findIndex(cut => cut.path === target)
      const cut = at < 0 ? null : network.cuts.splice(at, 1)[0]
      const end = () => {
        up.destroy()
        client.destroy()
        cut.done()
      }
      const [host, port] = demo.hook.split(':')
      up = net.connect(Number(port), host)
      up.on('error', () => client.destroy())
      up.on('connect', () => up.write(asked, 'latin1', () => { if (cut && cut.when === 'sent') end() }))
      let answer = ''
      up.on('data', piece => {
        answer += piece.toString('latin1')
        if (!isWhole(answer)) return
        network.answers.push(JSON.parse(Buffer.from(answer.split('\r\n\r\n')[1], 'latin1').toString()))
        if (cut) end()
        else client.end(answer, 'latin1')
      })
    })
  })
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  network.url = 'http://127.0.0.1:' + server.address().port
  /** Cuts the next request to `path` once it was sent, or once its answer was there; resolves then. */
  network.cut = (path, when) => new Promise(done => network.cuts.push({ path, when, done }))
  network.end = () => new Promise(resolve => server.close(resolve))
  return network
}

/** What WeChat's events pass on their way to the hook; while it is closed it keeps them. */
async function createDoor(demo) {
  const waiting = []
  const door = { url: '', is_open: true }
  const server = http.createServer((asked, answer) => {
    let body = ''
    asked.setEncoding('utf8')
    asked.on('data', piece => { body += piece })
    asked.on('end', async () => {
      if (!door.is_open) await new Promise(open => waiting.push(open))
      try {
        const { method, headers } = asked
        const told = await exchange({ url: `http://${demo.hook}${asked.url}`, method, header: { 'content-type': headers['content-type'] }, body: body || undefined })
        answer.writeHead(told.statusCode)
        answer.end(told.text)
      } catch {
        answer.destroy()
      }
    })
  })
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  door.url = 'http://127.0.0.1:' + server.address().port
  door.close = () => { door.is_open = false }
  door.open = () => {
    door.is_open = true
    waiting.splice(0).forEach(open => open())
  }
  door.end = () => {
    door.open()
    server.closeAllConnections()
    return new Promise(resolve => server.close(resolve))
  }
  return door
}

function isWhole(message) {
  const [head, body] = message.split('\r\n\r\n')
  const length = /content-length: *(\d+)/i.exec(head)
  return body !== undefined && body.length >= (length ? Number(length[1]) : 0)
}

/** One request on a connection of its own. */
function exchange({ url, method, header, body, timeout }) {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
    const request = http.request(url, { method, agent: false, timeout, headers: { ...header, ...length, connection: 'close' } }, answer => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', piece => { text += piece })
      answer.on('end', () => resolve({ statusCode: answer.statusCode, header: answer.headers, text }))
      answer.on('error', reject)
    })
    request.on('error', reject)
    request.on('timeout', () => request.destroy(new Error('timeout')))
    request.end(body)
  })
}

/** A phone whose wx.login asks the sandbox for a code of `phone.openid`. */
function createRealPhone(demo) {
  const phone = createPhone({
    code: async () => (await demo.sandbox('POST', 'login_code', { appid: APPID, openid: phone.openid })).code,
    answer: exchange,
  })
  phone.openid = demo.person
  /** A tap, and a tap on the panel that it opens; the promise of `subscribe`. */
  phone.subscribe = (client, answer, extras) => {
    const told = phone.tap(() => client.subscribe([TEMPLATE], extras))
    const panel = phone.panels.pop()
    if (panel) demo.panel(phone.openid, answer).then(status => panel.answer({ [TEMPLATE]: status }))
    return told
  }
  return phone
}

module.exports = { APPID, TEMPLATE, createDemo, createDoor, createNetwork, createRealPhone }
