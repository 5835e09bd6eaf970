// A mini program's sources as WeChat would run them, on a phone of tests: `require`, App, Page, getApp and wx; no drawing.
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const { createClient } = require('../tixing.js')

/** A file of the example. */
const example = file => fs.readFileSync(path.join(__dirname, '../example', file), 'utf8')

/** What a README shows of app.js and of a page. */
function readme(file = 'README.md') {
  const text = fs.readFileSync(path.join(__dirname, '../..', file), 'utf8')
  const [app, page] = text.split('```js\n// app.js\n')[1].split('```')[0].split('// pages/index/index.js\n')
  return { app, page }
}

/** Starts a program on `phone`, with the daemon at `options`; gives its page. */
function startProgram(phone, options, sources) {
  const wx = phone.start()
  let app
  let page
  const run = source => {
    const names = { wx, App: given => { app = given }, Page: given => { page = given }, getApp: () => app, require: required }
    new Function(...Object.keys(names), source)(...Object.values(names))
  }
  function required(name) {
    if (name !== './tixing.js') throw new Error('it has one file beside: ' + name)
    // Where the daemon is, a mini program has in its source.
    return { createClient: given => createClient({ ...given, ...options, wx }) }
  }
  run(sources.app)
  run(sources.page)
  app.onLaunch()
  app.onShow()
  page.data = JSON.parse(JSON.stringify(page.data || {}))
  page.setData = more => {
    const [name] = Object.keys(more).filter(name => more[name] === undefined)
    // WeChat only warns of it, and leaves on the screen what was there.
    if (name) throw new Error('setData takes no undefined: ' + name)
    Object.assign(page.data, JSON.parse(JSON.stringify(more)))
  }
  if (page.onShow) page.onShow()
  return page
}

/** Of a page's wxml: its handlers of taps, and the names of data that it shows. */
function shown(text) {
  const handlers = [...text.matchAll(/bindtap="(\w+)"/g)].map(match => match[1])
  const names = [...text.matchAll(/\{\{\s*(\w+)/g)].map(match => match[1]).filter(name => name !== 'item')
  return { handlers, names: [...new Set(names)].sort() }
}

module.exports = { example, readme, shown, startProgram }
