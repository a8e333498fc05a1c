//! A message while it comes in, bounded.
//!
//! Holds what belongs in the queue's record: the preface of the relay and the bytes of the peer. When it may
//! not go on, because it is too big or because memory is short, it gives its memory back at once and
//! only counts the rest, which has to be read to find its end.

use super::content::Sink;

#[derive(Debug)]
pub struct Buffer {
    record: Vec<u8>,
    preface: usize,
    max: u64,
    /// Octets of the peer so far.
    size: u64,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Kept,
    /// More than the limit on a message.
    TooBig,
    /// The relay had no memory left for it.
    Shed,
}

impl Buffer {
    /// `max` octets may follow `preface`.
    pub fn new(preface: Vec<u8>, max: u64) -> Self {
        Buffer { preface: preface.len(), record: preface, max, size: 0, fate: Fate::Kept }
    }

    pub fn fate(&self) -> Fate {
        self.fate
    }

    /// Gives the memory back; the message will be refused.
    pub fn shed(&mut self) {
        if self.fate == Fate::Kept {
            self.drop_with(Fate::Shed);
        }
    }

    /// Octets of memory in use.
    pub fn bytes(&self) -> usize {
        self.record.capacity()
    }

    /// What the peer sent, if it was kept.
    pub fn message(&self) -> &[u8] {
        &self.record[self.preface..]
    }

    pub fn into_record(self) -> Vec<u8> {
        self.record
    }

    fn drop_with(&mut self, fate: Fate) {
        self.fate = fate;
        self.record = Vec::new();
        self.preface = 0;
    }
}

impl Sink for Buffer {
    fn append(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        match self.fate {
            Fate::Kept if self.size > self.max => self.drop_with(Fate::TooBig),
            Fate::Kept => self.record.extend_from_slice(bytes),
            Fate::TooBig | Fate::Shed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_up_to_its_limit_and_then_nothing() {
        let mut buffer = Buffer::new(b"pre".to_vec(), 4);
        buffer.append(b"1234");
        assert_eq!((buffer.fate(), buffer.message()), (Fate::Kept, &b"1234"[..]));
        buffer.append(b"5");
        assert_eq!((buffer.fate(), buffer.bytes(), buffer.message()), (Fate::TooBig, 0, &b""[..]));
        buffer.append(b"6789");
        assert_eq!(buffer.bytes(), 0);
    }

    #[test]
    fn what_was_shed_stays_shed() {
        let mut buffer = Buffer::new(Vec::new(), 4);
        buffer.append(b"1");
        buffer.shed();
        buffer.append(b"23456789");
        assert_eq!((buffer.fate(), buffer.bytes()), (Fate::Shed, 0));
    }
}
