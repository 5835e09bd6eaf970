// One button, what it brought, and what comes next.
const { reminders } = getApp()

/** Your templates by their ids, as people should read them. */
const NAMES = { TEMPLATE_ID: '习惯打卡提醒' }

/** What to do where WeChat showed no panel. */
const HINTS = {
  main_switch_off: '订阅消息的总开关已关闭，请在设置里打开',
  panel_open: '授权面板已经打开',
  network: '网络不通，请稍后再试',
}

Page({
  data: {
    /** What the button asks for; nothing while there is enough. */
    ask: [],
    balances: [],
    upcoming: [],
    pending: 0,
    hint: '',
    settings: false,
  },

  onShow() {
    this.draw(reminders.known())
    this.refresh()
  },

  /** Nothing may be awaited before `subscribe`: WeChat shows its panel only in the tap itself. */
  onTapRemind() {
    return reminders.subscribe().then(told => {
      const { results, fail, pending } = told
      const is_refused = Object.keys(results).some(id => results[id] === 'reject')
      this.setData({
        pending,
        hint: fail ? HINTS[fail.name] || '暂时无法请求授权' : is_refused ? '没有授权的提醒不会发送，可在设置里更改' : '',
        settings: is_refused || Boolean(fail && fail.name === 'main_switch_off'),
      })
      this.draw(reminders.known())
      return this.refresh()
    }, error => this.setData({ hint: error.message }))
  },

  /** Asks the daemon; without it, what it said last stays on the screen. */
  refresh() {
    return reminders.flush()
      .then(({ pending }) => {
        this.setData({ pending })
        return Promise.all([reminders.me(), reminders.ask()])
      })
      .then(([me]) => {
        this.draw(reminders.known())
        this.setData({ upcoming: me.upcoming.map(next => ({ name: NAMES[next.template] || next.rule, at: clock(next.due_at) })) })
      })
      .catch(() => {})
  },

  draw({ ask, balances }) {
    const rows = Object.keys(balances).map(id => ({ id, name: NAMES[id] || id, n: balances[id] }))
    this.setData({ ask, balances: rows })
  },
})

/** An instant on this phone's clock: `3-01 09:00`. */
function clock(instant) {
  const at = new Date(instant)
  const two = n => (n < 10 ? '0' : '') + n
  return `${at.getMonth() + 1}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`
}
