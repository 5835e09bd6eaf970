// The example as WeChat would run it, on a phone of tests: its files by `require`, App, Page, getApp and wx; no drawing.
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const { createClient } = require('../tixing.js')

const ROOT = path.join(__dirname, '../example')

/** Starts the program on `phone`, with the daemon at `options`; gives its page, shown. */
function startExample(phone, options) {
  const wx = phone.start()
  let app
  let page
  const run = file => {
    const names = { wx, App: given => { app = given }, Page: given => { page = given }, getApp: () => app, require: required }
    new Function(...Object.keys(names), fs.readFileSync(path.join(ROOT, file), 'utf8'))(...Object.values(names))
  }
  function required(name) {
    if (name !== './tixing.js') throw new Error('it has one file beside: ' + name)
    // Where the daemon is, a mini program has in its source.
    return { createClient: given => createClient({ ...given, ...options, wx }) }
  }
  run('app.js')
  const { pages } = JSON.parse(fs.readFileSync(path.join(ROOT, 'app.json'), 'utf8'))
  run(pages[0] + '.js')
  app.onLaunch()
  app.onShow()
  page.data = JSON.parse(JSON.stringify(page.data))
  page.setData = more => Object.assign(page.data, JSON.parse(JSON.stringify(more)))
  page.onShow()
  return page
}

/** Of a page's wxml: its handlers of taps, and the names of data that it shows. */
function shown(file) {
  const text = fs.readFileSync(path.join(ROOT, file), 'utf8')
  const handlers = [...text.matchAll(/bindtap="(\w+)"/g)].map(match => match[1])
  const names = [...text.matchAll(/\{\{\s*(\w+)/g)].map(match => match[1]).filter(name => name !== 'item')
  return { handlers, names: [...new Set(names)].sort() }
}

module.exports = { shown, startExample }
