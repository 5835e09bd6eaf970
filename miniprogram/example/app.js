// The example's program: one client for all its pages, logged in at the start, and sent on each time it shows.
const { createClient } = require('./tixing.js')

App({
  reminders: createClient({ baseUrl: 'https://remind.example.com' }), // where your daemon's hook is

  onLaunch() {
    // A tap comes later than this, and is this person's from the first on. If it fails, the first tap tries again.
    this.reminders.login().catch(() => {})
  },

  onShow() {
    this.reminders.flush()
  },
})
