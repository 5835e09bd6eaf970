//! Reads TZif, the format of the system's zone files (RFC 9636), version 2 or later.
//!
//! Strict: what is not as the standard says is refused, so that a file that was cut or overwritten never
//! decides when somebody is reminded. Leap seconds are refused too: instants here have none.

use super::footer::Footer;
use super::table::{FOREVER, Kind, Table};

/// The largest zone file that is read, in bytes; the longest that are published have under 4,000.
pub const MAX_BYTES: usize = 64 * 1024;

/// Why bytes are no zone file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a zone file: {0}")]
pub struct Broken(&'static str);

impl Table {
    /// Reads the content of a zone file.
    ///
    /// # Errors
    /// [`Broken`]: it is none, in the words of the format.
    pub fn parse(bytes: &[u8]) -> Result<Self, Broken> {
        if bytes.len() > MAX_BYTES {
            return Err(Broken("too large"));
        }
        let mut rest = Rest(bytes);
        // The first block is for readers of version 1, whose instants end in 2038.
        let old = Header::read(&mut rest)?;
        rest.skip(old.block(4)?)?;
        let header = Header::read(&mut rest)?;
        let table = header.table(&mut rest)?;
        Ok(table)
    }
}

/// How many of each thing a block holds.
struct Header {
    ut: usize,
    standard: usize,
    leaps: usize,
    changes: usize,
    kinds: usize,
    chars: usize,
}

impl Header {
    fn read(rest: &mut Rest<'_>) -> Result<Self, Broken> {
        if rest.take(4)? != b"TZif" {
            return Err(Broken("it does not begin with TZif"));
        }
        let [version] = rest.array()?;
        if !(b'2'..=b'9').contains(&version) {
            return Err(Broken("its version is not 2 or later"));
        }
        rest.skip(15)?;
        let mut count =
            || rest.array().map(u32::from_be_bytes).map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        Ok(Self {
            ut: count()?,
            standard: count()?,
            leaps: count()?,
            changes: count()?,
            kinds: count()?,
            chars: count()?,
        })
    }

    /// Bytes of the block behind it, with instants of `width` bytes.
    fn block(&self, width: usize) -> Result<usize, Broken> {
        let parts = [
            (self.changes, width + 1),
            (self.kinds, 6),
            (self.chars, 1),
            (self.leaps, width + 4),
            (self.standard, 1),
            (self.ut, 1),
        ];
        let sum = parts.iter().try_fold(0_usize, |sum, (n, size)| sum.checked_add(n.checked_mul(*size)?));
        sum.ok_or(Broken("its counts are beyond all files"))
    }

    fn table(&self, rest: &mut Rest<'_>) -> Result<Table, Broken> {
        if self.block(8)? > rest.0.len() {
            return Err(Broken("it is cut"));
        }
        if self.leaps != 0 {
            return Err(Broken("it counts leap seconds"));
        }
        let flags = |n: usize| n == 0 || n == self.kinds;
        if self.kinds == 0 || self.chars == 0 || !flags(self.ut) || !flags(self.standard) {
            return Err(Broken("its counts do not fit one another"));
        }
        let mut starts = Vec::with_capacity(self.changes);
        for _ in 0..self.changes {
            starts.push(i64::from_be_bytes(rest.array()?));
        }
        let which = rest.take(self.changes)?;
        let mut shapes = Vec::with_capacity(self.kinds);
        for _ in 0..self.kinds {
            let offset = i32::from_be_bytes(rest.array()?);
            let [summer, name] = rest.array()?;
            if summer > 1 || offset.unsigned_abs() >= 86_400 {
                return Err(Broken("an offset is a day or more, or is neither summer nor standard time"));
            }
            shapes.push((offset, usize::from(name)));
        }
        let names = rest.take(self.chars)?;
        let mut kinds = Vec::with_capacity(self.kinds);
        for (offset, at) in shapes {
            let name = names.get(at..).and_then(|from| from.split_inclusive(|byte| *byte == 0).next());
            let name =
                name.and_then(|name| str::from_utf8(name).ok()).and_then(|name| name.strip_suffix('\0'));
            let Some(name) = name else { return Err(Broken("a kind has no name")) };
            kinds.push(Kind { offset, name: name.into() });
        }
        rest.skip(self.standard + self.ut)?;
        let footer = rest.footer()?;
        let mut changes: Vec<(i64, u8)> = starts.into_iter().zip(which.iter().copied()).collect();
        // Some compilers write what holds first as a change at the beginning of time.
        let before_all = changes.iter().take_while(|(at, _)| *at <= -FOREVER).count();
        let first = changes.drain(..before_all).next_back().map_or(0, |(_, which)| usize::from(which));
        let first = kinds.get(first).cloned().ok_or(Broken("a change is to no kind"))?;
        let last = changes.last().copied();
        let stated = last.and_then(|(_, which)| kinds.get(usize::from(which))).map(|kind| kind.offset);
        let table = Table::new(first, kinds, &changes, footer);
        let table = table.ok_or(Broken("its changes do not ascend, or are to no kind"))?;
        // The standard asks for it; where they differ, one of the two is of another release.
        if last.is_some_and(|(at, _)| stated != Some(table.at(at).kind.offset)) {
            return Err(Broken("its last line contradicts its last change"));
        }
        Ok(table)
    }
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Broken("it is cut"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn skip(&mut self, n: usize) -> Result<(), Broken> {
        self.take(n).map(|_| ())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Broken("it is cut"))?;
        self.0 = rest;
        Ok(*taken)
    }

    /// The last line; an empty one says nothing of the years to come.
    fn footer(&mut self) -> Result<Option<Footer>, Broken> {
        let line = str::from_utf8(self.0).ok();
        let line = line.and_then(|line| line.strip_prefix('\n')).and_then(|line| line.strip_suffix('\n'));
        match line {
            None => Err(Broken("its last line is cut")),
            Some("") => Ok(None),
            Some(line) => Footer::parse(line).map(Some).ok_or(Broken("its last line is no rule")),
        }
    }
}
