// A daemon for tests of the client: its hook as docs/hook.md says, with books in memory and faults on command.
//
// It decides nothing about rules: `ask` is what a test puts there. The real daemon is asked in e2e.test.js.
'use strict'

function createHook() {
  const people = new Map() // openid → {reports: id → text, balances}
  const sessions = new Map() // session → openid
  const codes = new Map()
  let n = 0
  const hook = {
    /** Who wx.login is for. */
    openid: 'oCANARYalice01',
    /** What becomes of the next requests: {path, lose: 'request' | 'answer', then} or {path, status, data, header}; any path without one. */
    faults: [],
    ask: ['T1'],
    /** Method and query of each request, in their order. */
    asked: [],
    n_logins: 0,
    in_flight: 0,
    in_flight_max: 0,
    code() {
      n += 1
      codes.set('CODE' + n, hook.openid)
      return 'CODE' + n
    },
    /** Sessions that are out are over from now on. */
    end_sessions: () => sessions.clear(),
    sessions: () => [...sessions.keys()],
    balance: (openid, template) => of(openid).balances[template] || 0,
    n_reports: openid => of(openid).reports.size,
    answer,
  }

  function of(openid) {
    if (!people.has(openid)) people.set(openid, { reports: new Map(), balances: {} })
    return people.get(openid)
  }

  async function answer(asked) {
    hook.in_flight += 1
    hook.in_flight_max = Math.max(hook.in_flight_max, hook.in_flight)
    try {
      await new Promise(setImmediate)
      const { pathname: path, search } = new URL(asked.url)
      hook.asked.push(asked.method + search)
      const at = hook.faults.findIndex(fault => !fault.path || fault.path === path)
      const fault = at < 0 ? null : hook.faults.splice(at, 1)[0]
      if (fault && fault.lose === 'request') lost(fault)
      if (fault && fault.status) return say(fault.status, fault.data, fault.header)
      const said = take(path, asked)
      if (fault && fault.lose === 'answer') lost(fault)
      return said
    } finally {
      hook.in_flight -= 1
    }
  }

  function lost(fault) {
    if (fault.then) fault.then()
    throw new Error('timeout')
  }

  function take(path, { method, header, body }) {
    const json = body === undefined ? undefined : JSON.parse(body)
    if (path === '/v1/login') {
      hook.n_logins += 1
      const openid = codes.get(json.code)
      codes.delete(json.code)
      if (!openid) return problem(401, 'bad_code')
      n += 1
      sessions.set('SESSION' + n, openid)
      return say(200, { session: 'SESSION' + n, expires_at: '2027-01-01T00:00:00Z', person: 'tag of ' + openid.slice(7), ask: hook.ask })
    }
    const openid = sessions.get(String(header.Authorization).replace('Bearer ', ''))
    if (!openid) return problem(401, 'identity')
    const { reports, balances } = of(openid)
    if (path === '/v1/ask') return say(200, { ask: hook.ask })
    if (path === '/v1/me' && method === 'DELETE') {
      people.delete(openid)
      return say(200, { erased: true })
    }
    if (path === '/v1/me') return say(200, { balances, upcoming: [], muted: false })
    if (path !== '/v1/consents') return problem(404, 'not_found')
    if (body.length > 65536) return problem(413, 'too_large_body')
    if (/\\ud[89a-f]/.test(body)) return problem(400, 'not_json') // JSON.stringify writes so what is half a character
    const { report, age_s, ...said } = json
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(report)) return problem(422, 'malformed')
    if (!Number.isInteger(age_s) || age_s < 0 || age_s > 15552000) return problem(422, 'malformed')
    if (said.fields && said.fields.bad) return problem(422, 'not_for_sessions')
    const text = JSON.stringify(said)
    if (reports.has(report)) {
      if (reports.get(report) !== text) return problem(409, 'conflict')
      return say(200, { report, balances, ask: hook.ask, ignored: [], duplicate: true })
    }
    reports.set(report, text)
    const ignored = []
    for (const [template, status] of Object.entries(said.results || {})) {
      if (typeof status !== 'string') return problem(422, 'malformed')
      if (/^accept/.test(status)) balances[template] = (balances[template] || 0) + 1
      else if (status !== 'reject') ignored.push({ template, status, why: /^(ban|filter)$/.test(status) ? 'not_granted' : 'unknown_status' })
    }
    return say(200, { report, balances, ask: hook.ask, ignored })
  }

  return hook
}

function say(statusCode, data, header) {
  const text = typeof data === 'string' ? data : JSON.stringify(data === undefined ? {} : data)
  return { statusCode, header: { 'Content-Type': 'application/json', ...header }, text }
}

function problem(status, code) {
  return say(status, { status, code, detail: 'in other words' })
}

module.exports = { createHook }
