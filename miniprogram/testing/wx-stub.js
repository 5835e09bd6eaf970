// A phone for tests: `wx` as far as tixing.js uses it, as faithful as the platform's documents are.
//
// Callbacks never come in the call that gives them; storage keeps copies; the consent panel opens only within the turn of a tap
// and one at a time; a killed program hears nothing any more, while its storage stays. It draws nothing, knows no rate limits of
// wx.login and wx.getSetting, and is stricter than the platform in one thing: a tap's state is lost with the tap's turn, while
// WeChat hands it on through some callbacks. Rules: pages wx.requestSubscribeMessage, wx.request and 数据缓存, read 2026-11-22.
'use strict'

const NOT_IN_TAP = 'requestSubscribeMessage:fail can only be invoked by user TAP gesture.'

/** Gives `told` to the callbacks of a call, later. */
function later(alive, options, kind, told) {
  setImmediate(() => {
    if (!alive()) return
    if (options[kind]) options[kind](told)
    if (options.complete) options.complete(told)
  })
}

/**
 * @param {object} world
 * @param {() => string | null | Promise<string | null>} world.code What wx.login gives; null: it fails.
 * @param {(asked: {url: string, method: string, header: object, body: string | undefined}) =>
 *   Promise<{statusCode: number, header: object, text: string}>} world.answer Answers requests; a rejection is a failed one.
 */
function createPhone(world) {
  const storages = new Map()
  let run = 0
  let in_tap = false
  const phone = {
    /** What WeChat would show, by the order of the calls: {tmplIds, answer(results), fail(code, text)}. */
    panels: [],
    /** Who uses WeChat on this phone: each user has a storage of his own. */
    user: 'one',
    /** Each request that left. */
    requests: [],
    /** Whether storage takes anything, and gives it back. */
    storage_writes: true,
    storage_reads: true,
    /** wx.getSetting's subscriptionsSetting. */
    subscriptions: { mainSwitch: true, itemSettings: {} },
    /** Runs a tap handler; the panel may open until it returns. */
    tap(handler) {
      in_tap = true
      try {
        return handler()
      } finally {
        in_tap = false
      }
    },
    /** Ends the program: nothing that it waits for comes. */
    kill() {
      run += 1
      phone.panels.length = 0
    },
    /** What a program that starts now finds as `wx`. */
    start() {
      phone.kill()
      return platform(run)
    },
    /** All that its storage holds, as text. */
    stored: () => [...storage()].map(([key, value]) => key + ' ' + value).join('\n'),
  }

  function storage() {
    if (!storages.has(phone.user)) storages.set(phone.user, new Map())
    return storages.get(phone.user)
  }

  function platform(mine) {
    const alive = () => run === mine
    let open = false
    return {
      login(options) {
        Promise.resolve(world.code()).then(code => {
          if (code === null) later(alive, options, 'fail', { errMsg: 'login:fail' })
          else later(alive, options, 'success', { errMsg: 'login:ok', code })
        })
      },
      requestSubscribeMessage(options) {
        const fail = (errCode, text) => later(alive, options, 'fail', { errMsg: 'requestSubscribeMessage:fail ' + text, errCode })
        const { tmplIds } = options
        if (!in_tap) return later(alive, options, 'fail', { errMsg: NOT_IN_TAP })
        if (open) return later(alive, options, 'fail', { errMsg: 'requestSubscribeMessage:fail last call has not ended' })
        if (!Array.isArray(tmplIds)) return fail(10004, 'invalid parameter type')
        if (tmplIds.length === 0) return fail(10001, 'TmplIds can\'t be empty')
        if (tmplIds.length > 3) return fail(20003, 'Templates size exceeds')
        open = true
        phone.panels.push({
          tmplIds: tmplIds.slice(),
          answer(results) {
            open = false
            later(alive, options, 'success', { errMsg: 'requestSubscribeMessage:ok', ...results })
          },
          fail(code, text) {
            open = false
            fail(code, text)
          },
        })
      },
      request(options) {
        const { url, method = 'GET', data, header = {} } = options
        const body = data === undefined ? undefined : JSON.stringify(data)
        const asked = { url, method, header, body, timeout: options.timeout }
        phone.requests.push(asked)
        Promise.resolve().then(() => world.answer(asked)).then(
          ({ statusCode, header, text }) => {
            let data = text
            try {
              data = JSON.parse(text)
            } catch {
              // The platform gives a text that is no JSON as it is.
            }
            later(alive, options, 'success', { errMsg: 'request:ok', statusCode, header, data, cookies: [] })
          },
          error => later(alive, options, 'fail', { errMsg: 'request:fail ' + error.message, errno: 600001 }),
        )
        return { abort() {} }
      },
      getSetting(options) {
        const told = { errMsg: 'getSetting:ok', authSetting: {} }
        if (options.withSubscriptions) told.subscriptionsSetting = structuredClone(phone.subscriptions)
        later(alive, options, 'success', told)
      },
      getStorageSync(key) {
        if (!phone.storage_reads) throw new Error('getStorageSync:fail')
        return storage().has(key) ? JSON.parse(storage().get(key)) : ''
      },
      setStorageSync(key, value) {
        if (!phone.storage_writes) throw new Error('setStorageSync:fail exceed storage max size')
        if (alive()) storage().set(key, JSON.stringify(value))
      },
    }
  }

  return phone
}

module.exports = { createPhone, NOT_IN_TAP }
