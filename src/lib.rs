//! tixing (提醒): sends WeChat mini-program subscription messages at their due times.
//!
//! The floors, from the top; imports point down only, and rooms of one floor do not name each
//! other (`tests/it/tidy.rs` holds it):
//!
//! ```text
//! 6  main  cli                                      parse, print, exit codes
//! 5  daemon  settings  telemetry  systemd  zoneinfo  wiring, environment, the only spawner
//! 4  hook  admin                                    HTTP doors; shapes in, shapes out
//! 3  flow: scheduler fanout dispatch intake recovery housekeeping
//! 2  rules  store  wechat  sandbox                  YAML, engines, the platform, its fake
//! 1  plan  clock                                    pure decisions; the one source of time
//! 0  domain                                         the words
//! ```

pub mod domain;

pub mod clock;
pub mod plan;

pub mod rules;
pub mod sandbox;
pub mod store;
pub mod wechat;

pub mod flow;

pub mod admin;
pub mod hook;

pub mod daemon;
pub mod settings;
pub mod systemd;
pub mod telemetry;
pub mod zoneinfo;

pub mod cli;
