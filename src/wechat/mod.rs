//! Stub until the platform client arrives.

/// Stub.
#[derive(Clone, Debug)]
pub struct Client;

/// Why a login code could not be exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// 40029, 40163.
    #[error("the code is not valid, or was used before")]
    BadCode,
    /// 40226.
    #[error("the platform blocks this user as risky")]
    RiskyUser,
    /// 45011.
    #[error("too many logins of this user")]
    TooFrequent,
    /// No answer.
    #[error("the platform gave no answer")]
    Unavailable,
    /// Another code of the platform.
    #[error("the platform refused with errcode {errcode}")]
    App {
        /// The platform's code.
        errcode: i64,
    },
}
