//! What the service manager is told: ready, reloading, stopping, alive.
//!
//! Without `NOTIFY_SOCKET` every call does nothing, so the daemon runs the same in a terminal. When to
//! call is the daemon's to decide; a heartbeat that does not follow from progress would hide a hang.

use std::time::Duration;

use sd_notify::NotifyState;

/// Tells the manager that the doors are open, with a line for `systemctl status`.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Gives the manager another line for `systemctl status`.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Tells the manager that a reload began; [`ready`] ends it.
///
/// From systemd 253 on, `Type=notify-reload` waits for ever without the monotonic stamp that goes along.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(stamp) => tell(&[NotifyState::Reloading, stamp]),
        Err(_no_clock) => tell(&[NotifyState::Reloading]),
    }
}

/// Tells the manager that the daemon is going down in good order.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells the manager that work goes on; at most [`heartbeat`] apart.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`alive`] is expected: a third of the unit's `WatchdogSec`; `None` without one.
#[must_use]
pub fn heartbeat() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 3)
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("The service manager was not told: {error}");
    }
}
