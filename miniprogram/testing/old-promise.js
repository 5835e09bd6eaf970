// The Promise that WeChat gives to iOS 15 and before: one made of timers, so that each of its callbacks has a turn of its own, and
// taps, answers and timers come in between. As much of it as tixing.js uses.
'use strict'

const later = setImmediate

class OldPromise {
  constructor(begin) {
    this.ended = null
    this.heard = []
    let is_told = false
    const once = tell => told => {
      if (is_told) return
      is_told = true
      tell(told)
    }
    const reject = once(error => end(this, 'failed', error))
    const resolve = once(told => {
      if (!told || typeof told.then !== 'function') return end(this, 'done', told)
      told.then(value => end(this, 'done', value), error => end(this, 'failed', error))
    })
    try {
      begin(resolve, reject)
    } catch (error) {
      reject(error)
    }
  }

  then(done, failed) {
    return new OldPromise((resolve, reject) => {
      hear(this, () => {
        const { kind, told } = this.ended
        const take = kind === 'done' ? done : failed
        if (typeof take !== 'function') return kind === 'done' ? resolve(told) : reject(told)
        try {
          resolve(take(told))
        } catch (error) {
          reject(error)
        }
      })
    })
  }

  catch(failed) {
    return this.then(undefined, failed)
  }

  static resolve(told) {
    return new OldPromise(resolve => resolve(told))
  }

  static reject(error) {
    return new OldPromise((_, reject) => reject(error))
  }
}

function hear(promise, callback) {
  if (promise.ended) later(callback)
  else promise.heard.push(callback)
}

function end(promise, kind, told) {
  promise.ended = { kind, told }
  promise.heard.forEach(callback => later(callback))
}

module.exports = { OldPromise }
