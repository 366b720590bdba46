//! Avro's binary encoding, read from front to back. Nothing in it can be trusted: lengths and counts are checked against
//! what is left before anything is done with them.

use super::plan::Skip;
use crate::codec::MAX_NESTING;

/// Why bytes are no record of their schema.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Broken {
    TooShort,
    BadNumber,
    BadBoolean,
    BadLength,
    NoSuchBranch,
    NoSuchSymbol,
    NotUtf8,
    TooDeep,
}

impl Broken {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Broken::TooShort => "the bytes end before it does",
            Broken::BadNumber => "an integer is longer than its type allows",
            Broken::BadBoolean => "a boolean is neither 0 nor 1",
            Broken::BadLength => "a length or a count is negative or larger than what is left",
            Broken::NoSuchBranch => "its union has no such branch",
            Broken::NoSuchSymbol => "its enum has no such symbol",
            Broken::NotUtf8 => "its text is not UTF-8",
            Broken::TooDeep => "it has more levels of records, arrays and maps than the limit",
        }
    }
}

/// What is left of a body.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Broken::TooShort)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Broken::TooShort)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// A zigzag varint of at most ten bytes.
    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Broken> {
        let (mut bits, mut shift) = (0_u64, 0_u32);
        loop {
            let (&byte, rest) = self.0.split_first().ok_or(Broken::TooShort)?;
            self.0 = rest;
            // The tenth byte holds the last bit of the 64.
            if shift == 63 && byte > 1 {
                return Err(Broken::BadNumber);
            }
            bits |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed());
            }
            shift += 7;
        }
    }

    #[inline]
    pub(super) fn int(&mut self) -> Result<i64, Broken> {
        let value = self.long()?;
        if i32::try_from(value).is_err() {
            return Err(Broken::BadNumber);
        }
        Ok(value)
    }

    #[inline]
    pub(super) fn boolean(&mut self) -> Result<bool, Broken> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Broken::BadBoolean),
        }
    }

    #[inline]
    pub(super) fn float(&mut self) -> Result<f32, Broken> {
        self.array().map(f32::from_le_bytes)
    }

    #[inline]
    pub(super) fn double(&mut self) -> Result<f64, Broken> {
        self.array().map(f64::from_le_bytes)
    }

    #[inline]
    pub(super) fn sixteen(&mut self) -> Result<[u8; 16], Broken> {
        self.array()
    }

    /// Bytes with their length before them.
    #[inline]
    pub(super) fn counted(&mut self) -> Result<&'a [u8], Broken> {
        let length = usize::try_from(self.long()?).map_err(|_| Broken::BadLength)?;
        if length > self.0.len() {
            return Err(Broken::BadLength);
        }
        self.take(length)
    }

    #[inline]
    pub(super) fn text(&mut self) -> Result<&'a str, Broken> {
        std::str::from_utf8(self.counted()?).map_err(|_| Broken::NotUtf8)
    }

    /// The branch of a union or the symbol of an enum that comes next.
    #[inline]
    pub(super) fn one_of<'p, T>(&mut self, all: &'p [T], none: Broken) -> Result<&'p T, Broken> {
        let index = usize::try_from(self.long()?).map_err(|_| none)?;
        all.get(index).ok_or(none)
    }

    /// Passes over a value. `named` are the types that refer to themselves.
    pub(super) fn skip(&mut self, skip: &Skip, named: &[Skip], depth: usize) -> Result<(), Broken> {
        match skip {
            Skip::Nothing => Ok(()),
            Skip::Fixed(count) => self.take(*count).map(drop),
            Skip::Integer => self.long().map(drop),
            Skip::Counted => self.counted().map(drop),
            Skip::OneOf(branches) => {
                let branch = self.one_of(branches, Broken::NoSuchBranch)?;
                self.skip(branch, named, depth)
            }
            Skip::Blocks(item) => {
                let depth = deeper(depth)?;
                self.blocks(|bytes| bytes.skip(item, named, depth), matches!(**item, Skip::Nothing))
            }
            Skip::All(parts) => {
                let depth = deeper(depth)?;
                parts.iter().try_for_each(|part| self.skip(part, named, depth))
            }
            // It stands for all of a record's fields, which count as a level themselves.
            Skip::Named(index) => self.skip(named.get(*index).ok_or(Broken::TooDeep)?, named, depth),
        }
    }

    /// The blocks of an array or a map: counts of items, the last of them 0. A negative count has the block's bytes
    /// behind it.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Broken>, empty: bool) -> Result<(), Broken> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.counted()?;
                continue;
            }
            // Items without bytes could be as many as they like at no cost to the sender.
            if empty {
                continue;
            }
            if usize::try_from(count).map_or(true, |count| count > self.0.len()) {
                return Err(Broken::BadLength);
            }
            for _ in 0..count {
                item(self)?;
            }
        }
    }
}

fn deeper(depth: usize) -> Result<usize, Broken> {
    if depth >= MAX_NESTING {
        Err(Broken::TooDeep)
    } else {
        Ok(depth + 1)
    }
}
