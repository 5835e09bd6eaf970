// The mini program's side of tixing: it asks for consents in a tap, and brings each answer to the daemon's hook exactly once.
//
// What WeChat told of a tap is written to the phone's storage before anything is sent, under an id that the daemon counts
// once, and stays there until the daemon has answered. So a lost answer, a closed page, a killed app or a daemon that is
// down cost time, never an acceptance. What it deliberately does not do: it keeps no count of its own (the daemon's answers
// do), guesses no acceptance from settings ("always keep" tells no number), holds no session beyond the running program,
// draws nothing and logs nothing. One file without dependencies: copy it. The contract is docs/hook.md.
'use strict'

/** Templates in one `wx.requestSubscribeMessage`: newer clients take 5, but all of them take 3. */
const MAX_TEMPLATES = 3
/** Reports of one person kept at a time; then no further panel is shown, so that no acceptance is lost. */
const MAX_KEPT = 50
/** Reports of all people who ever used this storage; WeChat gives each his own. */
const MAX_KEPT_OF_ALL = 200
/** The hook's limit of `age_s`, 180 days; as long as it knows report ids. */
const MAX_AGE_S = 15552000
/** Longer than the hook takes at most for an answer, 30 s. */
const TIMEOUT_MS = 35000
/** Waits before a further try, without a word of the daemon: doubled each time, and up to half shorter by chance. */
const FIRST_WAIT_S = 2
const LONGEST_WAIT_S = 300
/** A `Retry-After` up to this is waited for in `flush`; beyond, `flush` says when. */
const SHORT_WAIT_S = 5
/** A `Retry-After` beyond this is not believed. */
const LONGEST_RETRY_AFTER_S = 3600
/** Characters of a failure's text that are reported; the hook keeps as many. */
const MAX_MESSAGE = 256

/** What `wx.requestSubscribeMessage` gives to `fail`, by its code: a word to branch on. */
const FAILURES = {
  10001: 'no_templates', 10002: 'network', 10003: 'network_outcome_unknown', 10004: 'wrong_type', 10005: 'in_background',
  20001: 'unknown_template', 20002: 'kinds_mixed', 20003: 'too_many_templates', 20004: 'main_switch_off', 20005: 'app_banned',
  20013: 'device_template',
}

/** @import { Dropped, Extras, Fault, Flushed, Options, Platform, Subscribed } from './tixing' */

/**
 * @typedef {Extras & { results?: Record<string, string>, fail?: { code: number, message: string } }} Said What is reported.
 * @typedef {{ report: string, said: Said, person: string | null, run: string, age_ms: number, seen_at: number, stripped?: true }} Kept
 *   A report in storage: its id, made once; whose it is, as a login named him, null before the first login of its run; which run of the
 *   program made it; its age when the clock was last read, and that reading; whether what went with it was refused and taken off.
 * @typedef {{ person: string, ask: string[], balances: Record<string, number> }} Known What the daemon said last, and to whom.
 * @typedef {{ v: 1, reports: Kept[], known: Known }} State
 * @typedef {{ text: string, person: string }} Session
 * @typedef {{ status: number, data: Record<string, any>, retry_after_s: number | null }} Answer
 * @typedef {{ tried: Record<string, true>, answered: number, dropped: Dropped[], renewed: boolean, why: string }} Pass One way
 *   through the queue; `renewed`: a session was refused once.
 */

/**
 * A client of one daemon. Make one in app.js and share it.
 * @param {Options} options
 */
function createClient(options) {
  const platform = platformOf(options)
  if (!options || !/^https?:\/\/[^/?#]+/.test(options.baseUrl)) {
    throw fault('base_url', '`baseUrl` must be like "https://remind.example.com" · `baseUrl` 应形如 "https://remind.example.com"')
  }
  const base = options.baseUrl.replace(/\/+$/, '')
  const query = options.app ? '?app=' + encodeURIComponent(options.app) : ''
  const box = boxOf(platform, 'tixing ' + base + query)
  const run = random() + random()

  /** @type {Session | null} */ let session = null
  // Who this run is; a person cannot change without the program starting anew, but the code does not rely on it.
  /** @type {string | null} */ let person = null
  /** @type {Promise<Session> | null} */ let entering = null
  /** @type {Promise<Flushed> | null} */ let flushing = null
  // The next try by itself: since when it waits, for how long, whether that is the daemon's word; and who waits for it.
  /** @type {{ timer: any, since: number, ms: number, is_told: boolean } | null} */ let retry = null
  /** @type {((flushed: Promise<Flushed>) => void)[]} */ const waiting = []
  let n_failed = 0
  let n_taps = 0
  // By the reports that a tap still waits for: their answers, null until there is one.
  /** @type {Record<string, Answer['data'] | null>} */ const answers = {}

  /**
   * Asks for templates, and reports the answer. Call it in the tap handler itself, before any `await`: WeChat shows its panel
   * only then. Without `templateIds` it asks for what the daemon said is worth asking for.
   *
   * Resolves when the report was answered or has to wait (`pending`, it goes on by itself and by `flush`); also when WeChat
   * showed no panel (`fail`). Rejects, without any panel, what the caller has to mend: see `code`.
   * @type {(templateIds?: string[], extras?: Extras) => Promise<Subscribed>}
   */
  function subscribe(templateIds, extras) {
    const state = box.read()
    const ids = distinct(templateIds === undefined ? state.known.ask.slice(0, MAX_TEMPLATES) : templateIds)
    if (templateIds === undefined && ids && ids.length === 0) return go().then(flushed => subscribed({}, flushed, ''))
    const wrong = mistake(ids, platform) || full(state)
    if (wrong) return Promise.reject(wrong)
    return new Promise((resolve, reject) => {
      const more = copied(extras)
      platform.requestSubscribeMessage({
        tmplIds: /** @type {string[]} */ (ids),
        success(told) {
          const results = picked(/** @type {string[]} */ (ids), told)
          resolve(tell(results, Object.assign({ results }, more)))
        },
        fail(told) {
          const { errCode, errMsg } = /** @type {{ errCode?: unknown, errMsg?: unknown }} */ (told || {})
          const message = Array.from(String(errMsg || '')).slice(0, MAX_MESSAGE).join('') // no character is cut in two
          if (/TAP gesture/i.test(message)) return reject(notInTap(message))
          const code = typeof errCode === 'number' && isFinite(errCode) ? Math.trunc(errCode) : null
          const name = code !== null && FAILURES[/** @type {keyof FAILURES} */ (code)]
            || (/last call has not ended/.test(message) ? 'panel_open' : 'unknown')
          const fail = { code, name, message }
          // Without a code nothing came of the tap that a book could hold.
          if (code === null) return resolve(go().then(flushed => subscribed({}, flushed, '', { fail })))
          resolve(tell({}, { fail: { code, message } }, { fail }))
        },
      })
    })
  }

  /** @type {(state: State) => Fault | null} */
  function full(state) {
    const n = state.reports.length
    if (count(state) < MAX_KEPT && n < MAX_KEPT_OF_ALL) return null
    return fault('full', n + ' reports wait to be sent, so no further acceptance is asked for: is baseUrl right, and the daemon up? · '
      + '已有 ' + n + ' 条上报等待发送，暂不再请求授权：请检查 baseUrl 和服务是否正常')
  }

  // Reports of this person; of everybody before the first login of this run.
  /** @type {(state: State) => number} */
  function count(state) {
    return state.reports.filter(kept => person === null || kept.person === person).length
  }

  /** @type {(results: Record<string, string>, said: Said, more?: Partial<Subscribed>) => Promise<Subscribed>} */
  function tell(results, said, more) {
    n_taps += 1
    const now = Date.now()
    const report = now.toString(36) + '-' + run + '-' + n_taps.toString(36)
    answers[report] = null
    const saved = box.change(state => { state.reports.push({ report, said, person, run, age_ms: 0, seen_at: now }) })
    return go().then(flushed => subscribed(results, flushed, report, more, saved))
  }

  /**
   * @type {(results: Record<string, string>, flushed: Flushed, report: string, more?: Partial<Subscribed>, saved?: boolean)
   *   => Subscribed}
   */
  function subscribed(results, flushed, report, more, saved) {
    const answer = answers[report]
    delete answers[report]
    /** @type {Subscribed} */
    const out = Object.assign({ results, pending: flushed.pending }, more)
    if (report) out.report = report
    if (flushed.dropped) out.dropped = flushed.dropped
    if (answer) {
      out.balances = answer.balances
      out.ask = texts(answer.ask)
      out.ignored = answer.ignored || []
      if (answer.duplicate === true) out.duplicate = true
    } else if (saved === false && box.read().reports.some(kept => kept.report === report)) {
      out.unsaved = true
    }
    return out
  }

  /**
   * Logs in silently; at once when a session is there. Call it in `App.onLaunch`: reports are then known to be this person's
   * from the first tap on.
   * @type {() => Promise<{ ask: string[] }>}
   */
  function login() {
    return enter().then(() => ({ ask: known().ask }))
  }

  /** @type {() => Promise<Session>} */
  function enter() {
    if (session) return Promise.resolve(session)
    if (!entering) {
      const end = () => { entering = null }
      entering = knock(2)
      entering.then(end, end)
    }
    return entering
  }

  /** @type {(tries: number) => Promise<Session>} */
  function knock(tries) {
    return code().then(code => request('POST', '/v1/login', { code })).then(answer => {
      // A code serves once and for five minutes; the next one may be good.
      if (answer.status === 401 && tries > 1) return knock(tries - 1)
      if (answer.status !== 200 || typeof answer.data.session !== 'string') throw refused('login', answer)
      const entered = { text: answer.data.session, person: String(answer.data.person || '') }
      box.change(state => {
        own(state, entered.person)
        state.known.ask = texts(answer.data.ask)
      })
      session = entered
      person = entered.person
      return entered
    })
  }

  /**
   * Makes those of `who` what was tapped before the first login of its run: of this run, or of an earlier one if nobody else
   * ever logged in here. WeChat keeps the storage of each of its users apart (数据缓存, 隔离策略), so others' reports are not expected
   * here at all; what is theirs is kept until they log in, and never sent in the name of another.
   * @type {(state: State, who: string) => void}
   */
  function own(state, who) {
    const before = state.known.person
    for (const kept of state.reports) {
      if (kept.person === null && (kept.run === run || before === '' || before === who)) kept.person = who
    }
    if (before !== who) state.known = { person: who, ask: [], balances: {} }
  }

  /** @type {() => Promise<string>} */
  function code() {
    return new Promise((resolve, reject) => {
      platform.login({
        timeout: TIMEOUT_MS,
        success: told => told && told.code ? resolve(told.code) : reject(fault('wx_login', 'wx.login gave no code')),
        fail: () => reject(fault('wx_login', 'wx.login failed; it is tried again · wx.login 失败，稍后会再试')),
      })
    })
  }

  /**
   * Sends what is kept, oldest first, one at a time; a second call joins the first. Call it in `App.onShow`. Never rejects. While
   * the daemon's `Retry-After` runs nothing is sent: a short one is waited for, a long one is told in `retry_in_s`.
   * @type {() => Promise<Flushed>}
   */
  function flush() {
    const left_ms = bar()
    if (left_ms > 0 && left_ms <= SHORT_WAIT_S * 1000) return new Promise(resolve => { waiting.push(resolve) })
    return go()
  }

  // For how long the daemon wants to be left alone.
  /** @type {() => number} */
  function bar() {
    // A clock that was set back is no reason to wait longer.
    return retry && retry.is_told && Date.now() >= retry.since ? Math.max(0, retry.since + retry.ms - Date.now()) : 0
  }

  /** @type {() => Promise<Flushed>} */
  function go() {
    if (flushing) return flushing
    if (bar() > 0) return Promise.resolve(flushed({ answered: 0, dropped: [], why: 'busy' }))
    unset()
    const waiters = waiting.splice(0)
    /** @type {Pass} */
    const pass = { tried: {}, answered: 0, dropped: [], renewed: false, why: '' }
    /** @type {() => Promise<Flushed> | Flushed} */
    const end = () => {
      // A tap that joined since the last look: on iOS 15 and before WeChat's Promise is made of timers, and each callback has a turn.
      if (!retry && box.read().reports.some(kept => is_next(pass, kept))) return run_to_end()
      flushing = null
      return flushed(pass)
    }
    const run_to_end = () => step(pass).then(end, () => stop(pass, 'broken', null).then(end))
    const ended = run_to_end()
    waiters.forEach(resolve => resolve(ended))
    flushing = ended
    return ended
  }

  /** @type {(pass: Pass) => Promise<void>} */
  function step(pass) {
    if (!box.read().reports.some(kept => is_next(pass, kept))) return Promise.resolve()
    return enter().then(entered => {
      const kept = next(pass)
      if (!kept) return // what waits is another's
      const body = Object.assign({ report: kept.report, age_s: Math.floor(kept.age_ms / 1000) }, kept.said)
      return request('POST', '/v1/consents', body, entered.text).then(answer => settle(pass, kept, entered, answer))
    }, error => stop(pass, error.code === 'wx_login' ? 'wx_login' : error.status ? 'login' : 'network', error.retry_after_s))
  }

  /** @type {(pass: Pass, kept: Kept) => boolean} */
  function is_next(pass, kept) {
    return !pass.tried[kept.report] && (person === null || kept.person === person)
  }

  // The next report to send, with its age as it is now; what is too old is dropped on the way.
  /** @type {(pass: Pass) => Kept | undefined} */
  function next(pass) {
    /** @type {Kept | undefined} */ let found
    box.change(state => {
      const now = Date.now()
      for (const kept of state.reports) {
        // A clock set back adds nothing, so no age falls or is negative; one set forward adds too much, which is the safe side.
        kept.age_ms += Math.max(0, now - kept.seen_at)
        kept.seen_at = now
      }
      // The daemon knows ids no longer than this: an older one could count twice.
      state.reports = state.reports.filter(kept => {
        const is_old = kept.age_ms > MAX_AGE_S * 1000
        if (is_old) pass.dropped.push({ report: kept.report, what: 'report', why: 'too_old' })
        return !is_old
      })
      found = state.reports.filter(kept => is_next(pass, kept))[0]
    })
    return found
  }

  // What an answer means for its report; the table of docs/hook.md.
  /** @type {(pass: Pass, kept: Kept, used: Session, answer: Answer) => Promise<void>} */
  function settle(pass, kept, used, answer) {
    const { status, data } = answer
    const done = (/** @type {(state: State) => void} */ more) => box.change(state => {
      state.reports = state.reports.filter(other => other.report !== kept.report)
      more(state)
    })
    // Only the daemon names the report: a page that some network puts in between is no promise.
    if (status === 200 && data.report === kept.report && data.balances) {
      done(state => {
        if (state.known.person === used.person) {
          state.known.balances = data.balances
          state.known.ask = texts(data.ask)
        }
      })
      if (kept.report in answers) answers[kept.report] = data
      pass.answered += 1
      n_failed = 0
      return step(pass)
    }
    if (status === 409 && data.code === 'conflict') {
      done(() => {})
      if (kept.stripped) {
        // An earlier sending was booked, with all that went with it, and its answer lost.
        pass.dropped = pass.dropped.filter(dropped => dropped.report !== kept.report)
        pass.answered += 1
      } else {
        pass.dropped.push({ report: kept.report, what: 'report', why: 'conflict', detail: data.detail })
      }
      return step(pass)
    }
    const { results, fail } = kept.said
    const is_bare = !kept.said.for && !kept.said.fields && !kept.said.time_zone
    // A 400 or 413 may be about what goes with a tap, as long as something does: half a character, 70 KiB of text.
    const is_wrong = status === 422 ? typeof data.code === 'string' && data.code !== 'unknown_app'
      : !is_bare && (status === 413 || status === 400 && typeof data.code === 'string')
    if (is_wrong) {
      const why = typeof data.code === 'string' ? data.code : 'status_' + status
      pass.dropped.push({ report: kept.report, what: is_bare ? 'report' : 'extras', why, detail: data.detail })
      if (is_bare) {
        done(() => {})
      } else {
        // The acceptance is real, whatever is wrong beside it. Nothing of a refused sending counts, so its id is still good; but an
        // earlier one may have been booked before, and then the same id without its extras is a conflict.
        box.change(state => {
          for (const other of state.reports) {
            if (other.report === kept.report) Object.assign(other, { said: results ? { results } : { fail }, stripped: true })
          }
        })
      }
      return step(pass)
    }
    if (status === 401) {
      if (session === used) session = null
      if (pass.renewed) return stop(pass, 'identity', answer.retry_after_s)
      pass.renewed = true
      return step(pass)
    }
    if (status === 400 || status === 413) {
      // About this one alone: it stays, and does not hold up the others.
      pass.tried[kept.report] = true
      pass.why = 'status_' + status
      return step(pass)
    }
    return stop(pass, status === 0 ? 'network' : status === 429 || status === 503 ? 'busy' : 'status_' + status, answer.retry_after_s)
  }

  // Ends a pass, and sets the time of the next.
  /** @type {(pass: Pass, why: string, retry_after_s: number | null | undefined) => Promise<void>} */
  function stop(pass, why, retry_after_s) {
    pass.why = why
    n_failed += 1
    const own_s = Math.min(LONGEST_WAIT_S, FIRST_WAIT_S * Math.pow(2, Math.min(n_failed - 1, 10)))
    // All phones of a town come back at once after an outage: they spread.
    const is_told = typeof retry_after_s === 'number'
    const wait_s = is_told ? Math.max(1, retry_after_s) * (1 + Math.random() / 5) : own_s * (1 - Math.random() / 2)
    const ms = Math.ceil(wait_s * 1000)
    unset()
    /** @type {any} */
    const timer = setTimeout(() => {
      retry = null
      go()
    }, ms)
    retry = { timer, since: Date.now(), ms, is_told }
    if (timer && timer.unref) timer.unref() // in Node it holds up no test's end; WeChat's timers are numbers
    return Promise.resolve()
  }

  function unset() {
    if (retry) clearTimeout(retry.timer)
    retry = null
  }

  /** @type {(pass: { answered: number, dropped: Dropped[], why: string }) => Flushed} */
  function flushed(pass) {
    /** @type {Flushed} */
    const out = { pending: count(box.read()), answered: pass.answered }
    if (pass.dropped.length > 0) out.dropped = pass.dropped
    if (pass.why) out.why = pass.why
    if (retry) out.retry_in_s = Math.max(0, Math.ceil((retry.ms - Math.max(0, Date.now() - retry.since)) / 1000))
    return out
  }

  /**
   * What the daemon said last, at once: for a tap handler, and for the first picture after a start.
   * @type {() => { ask: string[], balances: Record<string, number> }}
   */
  function known() {
    const { ask, balances } = box.read().known
    return { ask: ask.slice(), balances: Object.assign({}, balances) }
  }

  /**
   * Asks the daemon which templates to ask for next, at most 3; `known().ask` is the last answer.
   * @type {() => Promise<string[]>}
   */
  function ask() {
    return authed('GET', '/v1/ask').then(data => {
      box.change(state => { if (state.known.person === person) state.known.ask = texts(data.ask) })
      return texts(data.ask)
    })
  }

  /**
   * What the daemon knows of this person: `balances`, `upcoming`, fields and the rest, as docs/hook.md says.
   * @type {() => Promise<Record<string, any>>}
   */
  function me() {
    return authed('GET', '/v1/me').then(data => {
      if (data.balances) box.change(state => { if (state.known.person === person) state.known.balances = data.balances })
      return data
    })
  }

  /**
   * Takes this person out of the daemon's books, and what waits of him out of the storage; with `allApps` out of the books of
   * all its mini programs that know him by one unionid. That is where WeChat tells the unionid at the login (mini programs bound
   * to one Open Platform account) and at most 64 recipients have it; else only this one forgets him.
   * @type {(options?: { allApps?: boolean }) => Promise<void>}
   */
  function forget(options) {
    const all = options && options.allApps ? (query ? '&' : '?') + 'apps=all' : ''
    return authed('DELETE', '/v1/me', all).then(() => {
      session = null // sessions from before an erasure are over
      box.change(state => {
        state.reports = state.reports.filter(kept => kept.person !== person)
        state.known = { person: person || '', ask: [], balances: {} }
      })
    })
  }

  /**
   * What the person set for subscriptions: the main switch, and for which templates he ticked "always keep" (总是保持以上选择), so
   * that no panel shows: each call still adds one acceptance. It says nothing of how many there are. WeChat allows few calls.
   * @type {() => Promise<{ mainSwitch: boolean, kept: Record<string, string> }>}
   */
  function settings() {
    return new Promise((resolve, reject) => {
      platform.getSetting({
        withSubscriptions: true,
        success: told => resolve(subscriptions(told && told.subscriptionsSetting)),
        fail: () => reject(fault('get_setting', 'wx.getSetting failed; try again later · wx.getSetting 失败，请稍后再试')),
      })
    })
  }

  /** @type {(method: 'GET' | 'DELETE', path: string, more?: string, renewed?: boolean) => Promise<Answer['data']>} */
  function authed(method, path, more, renewed) {
    return enter().then(entered => request(method, path, undefined, entered.text, more).then(answer => {
      if (answer.status === 401 && !renewed) {
        if (session === entered) session = null
        return authed(method, path, more, true)
      }
      if (answer.status !== 200) throw refused(path, answer)
      return answer.data
    }))
  }

  // One request; an answer of status 0 where there was none.
  /** @type {(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object, bearer?: string, more?: string) => Promise<Answer>} */
  function request(method, path, body, bearer, more) {
    return new Promise(resolve => {
      /** @type {Record<string, string>} */
      const header = { 'content-type': 'application/json' }
      if (bearer) header.Authorization = 'Bearer ' + bearer
      platform.request({
        url: base + path + query + (more || ''),
        method,
        data: body,
        header,
        timeout: TIMEOUT_MS,
        success(told) {
          const data = told.data && typeof told.data === 'object' ? /** @type {Answer['data']} */ (told.data) : {}
          resolve({ status: told.statusCode, data, retry_after_s: retryAfter(told.header) })
        },
        fail: () => resolve({ status: 0, data: {}, retry_after_s: null }),
      })
    })
  }

  return { login, subscribe, ask, flush, known, me, forget, settings }
}

/** @type {(options: Options) => Platform} */
function platformOf(options) {
  if (options && options.wx) return options.wx
  if (typeof wx !== 'undefined') return wx
  throw fault('no_wx', 'there is no `wx`: outside of WeChat pass `{ wx }` · 不在微信里运行时请传入 `wx`')
}

/** @type {WeakMap<Platform, Record<string, ReturnType<typeof openBox>>>} The boxes that are open. */
const boxes = new WeakMap()

// One box for all clients of one daemon in a program: with two memories, what one could not write would be written over the other's.
/** @type {(platform: Platform, key: string) => ReturnType<typeof openBox>} */
function boxOf(platform, key) {
  const open = boxes.get(platform) || {}
  boxes.set(platform, open)
  if (!open[key]) open[key] = openBox(platform, key)
  return open[key]
}

/**
 * The phone's storage as one value that is read, changed and written in one turn, so that whoever else writes it is seen. While it
 * refuses to be read or written, what changed lives on in memory, and is written when it can be.
 * @param {Platform} platform
 * @param {string} key
 */
function openBox(platform, key) {
  /** @type {State | null} */ let memory = null
  let is_read = true

  /** @type {() => State | null} */
  function stored() {
    try {
      return tidy(platform.getStorageSync(key))
    } catch (_) {
      return null
    }
  }

  /** @type {() => State} */
  function read() {
    if (memory === null) {
      const found = stored()
      if (found) return found
      memory = tidy(null)
      is_read = false
    } else if (!is_read) {
      const found = stored()
      if (found) {
        memory = { v: 1, reports: found.reports.concat(memory.reports), known: found.known }
        is_read = true
      }
    }
    return memory
  }

  // Whether it is written; else it is in memory.
  /** @type {(edit: (state: State) => void) => boolean} */
  function change(edit) {
    const state = read()
    edit(state)
    memory = state
    // What was not read must not be written over.
    if (!is_read) return false
    try {
      platform.setStorageSync(key, state)
      memory = null
      return true
    } catch (_) {
      return false
    }
  }

  return { read, change }
}

// What storage gave, if it is ours; else an empty state.
/** @type {(value: any) => State} */
function tidy(value) {
  const is_ours = value && typeof value === 'object' && value.v === 1 && Array.isArray(value.reports)
  const known = is_ours && value.known || {}
  return {
    v: 1,
    reports: is_ours ? value.reports.filter((/** @type {any} */ kept) => kept && kept.report && kept.said).map(whole) : [],
    known: { person: String(known.person || ''), ask: texts(known.ask), balances: known.balances || {} },
  }
}

/** @type {(kept: any) => Kept} */
function whole(kept) {
  const number = (/** @type {unknown} */ n, /** @type {number} */ otherwise) =>
    typeof n === 'number' && isFinite(n) && n >= 0 ? n : otherwise
  kept.age_ms = number(kept.age_ms, 0)
  kept.seen_at = number(kept.seen_at, Date.now())
  return kept
}

// Why these templates cannot be asked for.
/** @type {(ids: string[] | null, platform: Platform) => Fault | null} */
function mistake(ids, platform) {
  if (!ids || ids.some(id => typeof id !== 'string' || id === '')) {
    return fault('wrong_type', 'subscribe takes a list of template ids · subscribe 的参数应是模板 id 的数组')
  }
  if (ids.length === 0) {
    return fault('no_templates', 'the list of template ids is empty; without a list, subscribe asks for what the daemon said · '
      + '模板 id 列表为空；不传参数时请求服务建议的模板')
  }
  if (ids.length > MAX_TEMPLATES) {
    return fault('too_many_templates', 'one call takes at most ' + MAX_TEMPLATES + ' templates, this one has ' + ids.length
      + ': ask for the others at a later tap · 一次最多请求 ' + MAX_TEMPLATES + ' 个模板，其余的请在下一次点击时再请求')
  }
  if (typeof platform.requestSubscribeMessage !== 'function') {
    return fault('old_wechat', 'this WeChat has no subscription messages: base library 2.4.4 or newer · '
      + '微信版本过低，基础库需 2.4.4 以上')
  }
  return null
}

/** @type {(message: string) => Fault} */
function notInTap(message) {
  return fault('not_in_tap', 'call subscribe in the tap handler itself, before any await, setTimeout or callback · '
    + '请在点击事件处理函数里直接调用 subscribe，之前不要有 await、setTimeout 或回调 (' + message + ')')
}

/** @type {(ids: unknown) => string[] | null} */
function distinct(ids) {
  return Array.isArray(ids) ? ids.filter((id, at) => ids.indexOf(id) === at) : null
}

// Of what WeChat told, the answers to what was asked: some clients add numbers and keys of their own.
/** @type {(ids: string[], told: any) => Record<string, string>} */
function picked(ids, told) {
  /** @type {Record<string, string>} */
  const results = {}
  for (const id of ids) if (told && typeof told[id] === 'string') results[id] = told[id]
  return results
}

/** @type {(extras?: Extras) => Extras} */
function copied(extras) {
  const { for: bound, fields, time_zone } = extras || {}
  return JSON.parse(JSON.stringify({ for: bound, fields, time_zone }))
}

/** @type {(setting: any) => { mainSwitch: boolean, kept: Record<string, string> }} */
function subscriptions(setting) {
  const all = Object.assign({}, setting, setting && setting.itemSettings) // older clients list the templates beside the switch
  /** @type {Record<string, string>} */
  const kept = {}
  for (const id of Object.keys(all)) if (typeof all[id] === 'string') kept[id] = all[id]
  return { mainSwitch: !(setting && setting.mainSwitch === false), kept }
}

// Seconds of a `Retry-After`, whatever its case.
/** @type {(header: any) => number | null} */
function retryAfter(header) {
  const name = Object.keys(header || {}).filter(name => name.toLowerCase() === 'retry-after')[0]
  const text = name === undefined ? '' : String(header[name])
  return /^\d{1,9}$/.test(text) ? Math.min(Number(text), LONGEST_RETRY_AFTER_S) : null
}

/** @type {(list: any) => string[]} */
function texts(list) {
  return Array.isArray(list) ? list.filter(text => typeof text === 'string') : []
}

function random() {
  return Math.random().toString(36).slice(2, 10)
}

/** @type {(what: string, answer: Answer) => Fault} */
function refused(what, answer) {
  const said = answer.data.code || (answer.status ? 'status ' + answer.status : 'no answer')
  return fault(answer.status ? String(answer.data.code || 'status_' + answer.status) : 'network',
    what + ': ' + said + ' · 请求未成功', { status: answer.status, retry_after_s: answer.retry_after_s })
}

// An error to branch on by its `code`; its text is for developers, in English and Chinese.
/** @type {(code: string, message: string, more?: { status?: number, retry_after_s?: number | null }) => Fault} */
function fault(code, message, more) {
  return Object.assign(new Error('tixing: ' + message), { code }, more)
}

module.exports = /** @type {typeof import('./tixing')} */ ({ createClient })
