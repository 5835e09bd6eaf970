//! A disk whose every change is written down, whose power can be cut, and which fails on command.
//!
//! `disk.c` is preloaded into the real program; here it is compiled and given its orders. What it wrote down
//! is read in `journal`. It stands between the program and the real disk, so a call that it lets through
//! still does what the machine's own disk does.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

pub(crate) use self::journal::{Cut, Dice, Journal, Kind, Record, copy, listed};

mod hand;
mod journal;

/// Compiles a C source that lies beside this file.
fn compiled(name: &str, options: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/process/disk/{name}.c"));
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let fresh = made.with_extension(std::process::id().to_string());
    let said = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-O1", "-o"])
        .args([&fresh, &source])
        .args(options)
        .output()
        .expect("a C compiler, cc, is needed");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    fs::rename(&fresh, &made).unwrap();
    made
}

/// The preloaded library, compiled once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| compiled("disk", &["-shared", "-fPIC"]))
}

/// Which calls are to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// Writes and changes of size.
    Writes = 1,
    /// Syncs of every kind.
    Syncs = 2,
    /// Writes and syncs.
    WritesAndSyncs = 3,
    /// New names, renames, removals; and with EROFS, opening to write.
    Names = 4,
    /// All of them: a disk that is gone, or read-only.
    All = 7,
}

/// How a disk fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failing {
    pub(crate) errno: u32,
    pub(crate) calls: Calls,
    /// The first such call that fails, counted from 1 and from this order on.
    pub(crate) first: u32,
    /// How many fail; 0: all until [`Disk::heal`].
    pub(crate) times: u32,
}

pub(crate) const EIO: u32 = 5;
pub(crate) const ENOSPC: u32 = 28;
pub(crate) const EROFS: u32 = 30;

/// The disk under one folder: its journal and its control.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    under: PathBuf,
    journal: PathBuf,
    control: PathBuf,
}

impl Disk {
    /// A disk for what is in `under`, with its own files in `beside`, which lies elsewhere.
    pub(crate) fn new(under: &Path, beside: &Path) -> Self {
        let disk = Self {
            under: under.canonicalize().unwrap(),
            journal: beside.join("journal"),
            control: beside.join("control"),
        };
        fs::write(&disk.control, [0; 28]).unwrap();
        fs::write(&disk.journal, []).unwrap();
        fs::write(beside.join("under"), disk.under.to_str().unwrap()).unwrap();
        disk
    }

    /// A disk whose program has ended, by what it left in `beside`.
    pub(crate) fn kept(beside: &Path) -> Self {
        let under = fs::read_to_string(beside.join("under")).unwrap().into();
        Self { under, journal: beside.join("journal"), control: beside.join("control") }
    }

    /// What to put before a program so that it runs on this disk; it stays this process's own child.
    pub(crate) fn wrapper(&self) -> Vec<String> {
        let set = |name: &str, path: &Path| format!("{name}={}", path.display());
        vec![
            "env".to_owned(),
            set("LD_PRELOAD", library()),
            set("TIXING_DISK_UNDER", &self.under),
            set("TIXING_DISK_JOURNAL", &self.journal),
            set("TIXING_DISK_CONTROL", &self.control),
        ]
    }

    fn word(&self, at: u64) -> u32 {
        let mut word = [0; 4];
        fs::File::open(&self.control).unwrap().read_exact_at(&mut word, at * 4).unwrap();
        u32::from_ne_bytes(word)
    }

    fn set(&self, at: u64, word: u32) {
        let control = fs::File::options().write(true).open(&self.control).unwrap();
        control.write_all_at(&word.to_ne_bytes(), at * 4).unwrap();
    }

    /// Fails from now on.
    pub(crate) fn fail(&self, how: Failing) {
        self.heal();
        for (at, word) in
            [(1, how.calls as u32), (2, how.first), (3, how.times), (4, 0), (5, 0), (0, how.errno)]
        {
            self.set(at, word);
        }
    }

    /// Counts such calls without failing, for [`Disk::seen`].
    pub(crate) fn count(&self, calls: Calls) {
        self.fail(Failing { errno: 0, calls, first: 0, times: 0 });
    }

    /// Works again. What a failed sync left unwritten stays so, and other handles hear of it once.
    pub(crate) fn heal(&self) {
        self.set(0, 0);
    }

    /// Calls of the kind last ordered, since then.
    pub(crate) fn seen(&self) -> u32 {
        self.word(4)
    }

    /// Calls that failed since the last order.
    pub(crate) fn failed(&self) -> u32 {
        self.word(5)
    }

    /// Has the program killed right after its `n`-th record from now.
    pub(crate) fn die_in(&self, n: u32) {
        self.set(6, n);
    }

    /// How many bytes of the journal are written.
    pub(crate) fn written(&self) -> u64 {
        fs::metadata(&self.journal).unwrap().len()
    }
}
