//! What the disk wrote down, and the folder as a power cut at any point could have left it.
//!
//! What a completed sync of a file covered is certain; each later write may be there, be missing, or be there
//! in sectors of 512 bytes. Names are an ordered journal that is certain as far as a sync of a folder covered
//! it. `sync_file_range` makes nothing certain, nor does a sync that failed. It does not know what is right
//! after a cut; `power` does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Disk;

/// A record of the journal.
#[derive(Debug)]
pub(crate) struct Record {
    /// Where it ends in the journal's bytes.
    pub(crate) end: u64,
    thread: u32,
    pub(crate) kind: Kind,
    error: u32,
    offset: u64,
    pub(crate) path: String,
    other: String,
    data: std::ops::Range<usize>,
}

/// What a record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file was opened that was made if it was missing.
    Create,
    /// A file was cut or extended.
    Size,
    /// Room was set aside for a file.
    Room,
    Write,
    Rename,
    Remove,
    Folder,
    Link,
    SyncBegins,
    SyncEnds,
    /// `sync_file_range`.
    Range,
    /// Something leaves through a socket.
    Said,
}

impl Kind {
    fn of(byte: u8, of: &str) -> Self {
        match byte {
            b'C' => Self::Create,
            b'T' => Self::Size,
            b'A' => Self::Room,
            b'W' => Self::Write,
            b'N' => Self::Rename,
            b'U' => Self::Remove,
            b'M' => Self::Folder,
            b'L' => Self::Link,
            b'b' => Self::SyncBegins,
            b'e' => Self::SyncEnds,
            b'r' => Self::Range,
            b'>' => Self::Said,
            other => panic!("the disk's journal cannot follow {:?}: {of}", char::from(other)),
        }
    }
}

/// A journal that was read, over the folder as it was before the first record.
#[derive(Debug)]
pub(crate) struct Journal {
    under: String,
    before: BTreeMap<String, Node>,
    files: Vec<Vec<u8>>,
    pub(crate) records: Vec<Record>,
    bytes: Vec<u8>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    Link(String),
    /// The number of a file.
    File(usize),
}

/// How much of what no sync covered a cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All of it, as a kill does.
    Nothing,
    /// None of it.
    Everything,
    /// Each write as a whole or not at all, in any order.
    Reordered,
    /// Each sector of 512 bytes by itself.
    Torn,
}

/// A small generator; one seed gives one image.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A change of a file's content.
struct Change {
    at: usize,
    what: What,
    certain: bool,
    lost: bool,
}

#[derive(Clone)]
enum What {
    Bytes(u64, std::ops::Range<usize>),
    Size(u64),
    Room(u64),
}

/// A change of a name.
enum Name {
    Put(String, Node),
    Gone(String),
    Moved(String, String),
}

/// Everything that happened up to a cut.
#[derive(Default)]
struct Happened {
    now: BTreeMap<String, Node>,
    names: Vec<(usize, Name)>,
    n_names_certain: usize,
    changes: Vec<Vec<Change>>,
    syncing: BTreeMap<u32, usize>,
}

impl Journal {
    /// Reads the journal of `disk`, whose folder was a copy of `before` at its start.
    pub(crate) fn read(disk: &Disk, before: &Path) -> Self {
        let bytes = fs::read(&disk.journal).unwrap();
        let mut journal = Self {
            under: disk.under.to_str().unwrap().to_owned(),
            before: BTreeMap::new(),
            files: Vec::new(),
            records: Vec::new(),
            bytes: Vec::new(),
        };
        journal.look(before, &journal.under.clone());
        let mut at = 0;
        let number = |at: usize, n: usize| {
            let mut eight = [0; 8];
            eight[..n].copy_from_slice(&bytes[at..at + n]);
            u64::from_le_bytes(eight) as usize
        };
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 4], b"DISK", "a torn record at {at}");
            let (path, other, data) = (number(at + 24, 4), number(at + 28, 4), number(at + 32, 8));
            let text = |from: usize, n: usize| String::from_utf8(bytes[from..from + n].to_vec()).unwrap();
            let head = at + 40;
            let (path, other) = (text(head, path), text(head + path, other));
            let from = head + path.len() + other.len();
            journal.records.push(Record {
                end: (from + data) as u64,
                thread: number(at + 4, 4) as u32,
                kind: Kind::of(bytes[at + 8], &format!("{other} {path}")),
                error: number(at + 12, 4) as u32,
                offset: number(at + 16, 8) as u64,
                path,
                other,
                data: from..from + data,
            });
            at = from + data;
        }
        journal.bytes = bytes;
        journal
    }

    fn look(&mut self, at: &Path, as_path: &str) {
        for entry in fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) =
                (format!("{as_path}/{}", entry.file_name().to_str().unwrap()), entry.file_type().unwrap());
            if kind.is_dir() {
                self.before.insert(path.clone(), Node::Folder);
                self.look(&entry.path(), &path);
            } else if kind.is_symlink() {
                let text = fs::read_link(entry.path()).unwrap().to_str().unwrap().to_owned();
                self.before.insert(path, Node::Link(text));
            } else if kind.is_file() {
                self.before.insert(path, Node::File(self.files.len()));
                self.files.push(fs::read(entry.path()).unwrap());
            }
        }
    }

    /// What leaves by this record.
    pub(crate) fn said(&self, record: &Record) -> &[u8] {
        if record.kind == Kind::Said { &self.bytes[record.data.clone()] } else { &[] }
    }

    /// Paths of what a write or a sync failed for.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &str> {
        self.records.iter().filter(|record| record.error != 0).map(|record| record.path.as_str())
    }

    /// How many records were written when the journal had this length.
    pub(crate) fn at(&self, written: u64) -> usize {
        self.records.partition_point(|record| record.end <= written)
    }

    fn happened(&self, cut: usize) -> Happened {
        let mut is = Happened { now: self.before.clone(), ..Happened::default() };
        is.changes.extend(self.files.iter().map(|_| Vec::new()));
        for (at, record) in self.records[..cut].iter().enumerate() {
            is.take(at, record);
        }
        is
    }

    /// Writes the folder into `to`, which is empty, as a power cut after `cut` records could have left it.
    pub(crate) fn image(&self, cut: usize, how: Cut, dice: &mut Dice, to: &Path) {
        let happened = self.happened(cut);
        // How many in ten of what is uncertain stay; one figure for an image makes some nearly whole, some nearly empty.
        let stay = 1 + dice.roll(9);
        let uncertain = (happened.names.len() - happened.n_names_certain) as u64;
        let n_names = happened.n_names_certain
            + match how {
                Cut::Nothing => uncertain,
                Cut::Everything => 0,
                Cut::Reordered | Cut::Torn => dice.roll(uncertain + 1),
            } as usize;
        let mut names = self.before.clone();
        for (_, name) in &happened.names[..n_names] {
            rename(&mut names, name);
        }
        for (path, node) in &names {
            let at = to.join(path.strip_prefix(&self.under).unwrap().trim_start_matches('/'));
            match node {
                Node::Folder => fs::create_dir_all(at).unwrap(),
                Node::Link(text) => symlink(text, at).unwrap(),
                Node::File(file) => {
                    fs::write(at, self.content(*file, &happened.changes[*file], how, stay, dice)).unwrap();
                }
            }
        }
    }

    fn content(&self, file: usize, changes: &[Change], how: Cut, stay: u64, dice: &mut Dice) -> Vec<u8> {
        let mut is = self.files.get(file).cloned().unwrap_or_default();
        let mut reached = is.len();
        for change in changes {
            let whole = change.certain
                || match how {
                    Cut::Nothing => true,
                    Cut::Everything => false,
                    Cut::Reordered | Cut::Torn => dice.roll(10) < stay,
                };
            match &change.what {
                What::Size(size) if whole => is.resize(*size as usize, 0),
                What::Room(size) if whole => is.resize(is.len().max(*size as usize), 0),
                What::Size(_) | What::Room(_) => {}
                What::Bytes(offset, data) => {
                    let (offset, data) = (*offset as usize, &self.bytes[data.clone()]);
                    reached = reached.max(offset + data.len());
                    if whole {
                        put(&mut is, offset, data);
                    } else if how == Cut::Torn {
                        let mut from = 0;
                        while from < data.len() {
                            let to = data.len().min((offset + from) / 512 * 512 + 512 - offset);
                            if dice.roll(10) < stay {
                                put(&mut is, offset + from, &data[from..to]);
                            }
                            from = to;
                        }
                    }
                }
            }
        }
        // The size may be there without the bytes.
        if (how == Cut::Reordered || how == Cut::Torn) && dice.roll(2) == 0 && is.len() < reached {
            is.resize(reached, 0);
        }
        is
    }
}

fn put(is: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if is.len() < offset + data.len() {
        is.resize(offset + data.len(), 0);
    }
    is[offset..offset + data.len()].copy_from_slice(data);
}

fn rename(names: &mut BTreeMap<String, Node>, name: &Name) {
    match name {
        Name::Put(path, node) => {
            names.insert(path.clone(), node.clone());
        }
        Name::Gone(path) => {
            names.remove(path);
        }
        Name::Moved(from, to) => {
            let inside = format!("{from}/");
            let moved: Vec<String> =
                names.keys().filter(|path| *path == from || path.starts_with(&inside)).cloned().collect();
            for path in moved {
                let node = names.remove(&path).unwrap();
                names.insert(path.replacen(from.as_str(), to, 1), node);
            }
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').unwrap().0
}

impl Happened {
    fn name(&mut self, at: usize, name: Name) {
        rename(&mut self.now, &name);
        self.names.push((at, name));
    }

    /// The changes of the file at `path`; none of what is no file, or was not followed from its start.
    fn file(&mut self, path: &str) -> Option<&mut Vec<Change>> {
        match self.now.get(path)? {
            Node::File(file) => Some(&mut self.changes[*file]),
            Node::Folder | Node::Link(_) => None,
        }
    }

    fn change(&mut self, at: usize, path: &str, what: What) {
        let changes = self.file(path).unwrap_or_else(|| panic!("a change of {path}, which is not there"));
        changes.push(Change { at, what, certain: false, lost: false });
    }

    fn take(&mut self, at: usize, record: &Record) {
        let path = record.path.clone();
        match record.kind {
            Kind::Create => {
                if !self.now.contains_key(&path) {
                    self.changes.push(Vec::new());
                    self.name(at, Name::Put(path, Node::File(self.changes.len() - 1)));
                }
            }
            Kind::Size => self.change(at, &path, What::Size(record.offset)),
            Kind::Room => self.change(at, &path, What::Room(record.offset)),
            Kind::Write if record.error == 0 => {
                self.change(at, &path, What::Bytes(record.offset, record.data.clone()));
            }
            Kind::Write | Kind::Said => {}
            Kind::Rename => self.name(at, Name::Moved(path, record.other.clone())),
            // A socket was never a file here.
            Kind::Remove => self.name(at, Name::Gone(path)),
            Kind::Folder => self.name(at, Name::Put(path, Node::Folder)),
            Kind::Link => self.name(at, Name::Put(path, Node::Link(record.other.clone()))),
            Kind::SyncBegins => {
                self.syncing.insert(record.thread, at);
            }
            Kind::SyncEnds => {
                let begun = self.syncing.remove(&record.thread).expect("a sync ends where it began");
                self.synced(&path, begun, record.error);
            }
            Kind::Range if record.error != 0 => self.synced(&path, at, record.error),
            Kind::Range => {}
        }
    }

    fn synced(&mut self, path: &str, begun: usize, error: u32) {
        if let Some(changes) = self.file(path) {
            // After a failed sync the pages count as clean: a later sync writes none of them again.
            for change in changes.iter_mut().filter(|change| change.at < begun && !change.lost) {
                if error == 0 {
                    change.certain = true;
                } else {
                    change.lost = !change.certain;
                }
            }
        } else if error == 0 {
            let in_it = |name: &Name| match name {
                Name::Put(of, _) | Name::Gone(of) => parent(of) == path,
                Name::Moved(from, to) => parent(from) == path || parent(to) == path,
            };
            let last = self.names.iter().rposition(|(at, name)| *at < begun && in_it(name));
            self.n_names_certain = self.n_names_certain.max(last.map_or(0, |last| last + 1));
        }
    }
}

/// Every name below a folder with its content, sockets left out.
pub(crate) fn listed(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
            let name = path.strip_prefix(folder).unwrap().to_path_buf();
            if kind.is_dir() {
                all.insert(name, None);
                folders.push(path);
            } else if kind.is_symlink() {
                all.insert(name, Some(fs::read_link(path).unwrap().into_os_string().into_encoded_bytes()));
            } else if kind.is_file() {
                all.insert(name, Some(fs::read(path).unwrap()));
            }
        }
    }
    all
}

/// Copies what is in a folder into another, sockets left out.
pub(crate) fn copy(from: &Path, to: &Path) {
    for (name, content) in listed(from) {
        let to = to.join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        match content {
            None => fs::create_dir_all(to).unwrap(),
            Some(content) => fs::write(to, content).unwrap(),
        }
    }
}
