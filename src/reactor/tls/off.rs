//! What stands in for TLS where the feature `tls` is off: types without values, so that the code about them compiles to nothing.

use super::buffer::{Buffer, BufferPool};
use super::outcome::{Fault, TlsFault};
use super::token::Millis;
use std::marker::PhantomData;

pub(super) const RECORD: usize = 16 << 10;

/// There is no TLS in this build: the feature `tls` is off.
#[derive(Clone, Debug)]
pub enum TlsSide {}

/// There is no TLS in this build: the feature `tls` is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TlsInfo<'a>(PhantomData<&'a ()>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(dead_code)] // never made
pub(super) enum Due {
    Eof,
    Fault(TlsFault),
}

/// Never made.
#[derive(Debug)]
pub struct Tls {
    never: TlsSide,
    pub(super) due: Option<Due>,
    pub(super) deadline: Millis,
}

impl Tls {
    pub(super) fn new(side: TlsSide) -> Result<Box<Tls>, Fault> {
        match side {}
    }

    pub(super) fn chunk(&self) -> usize {
        match self.never {}
    }

    pub(super) fn is_up(&self) -> bool {
        match self.never {}
    }

    pub(super) fn is_dead(&self) -> bool {
        match self.never {}
    }

    pub(super) fn kill(&mut self) {
        match self.never {}
    }

    pub(super) fn kept(&self) -> usize {
        match self.never {}
    }

    pub(super) fn missing(&self) -> usize {
        match self.never {}
    }

    pub(super) fn restore(&mut self, _: &mut [u8], _: &mut BufferPool) {
        match self.never {}
    }

    pub(super) fn clear(&mut self, _: &mut BufferPool) {
        match self.never {}
    }

    pub(super) fn info(&self) -> Option<TlsInfo<'_>> {
        match self.never {}
    }

    pub(super) fn open(&mut self, _: &mut [u8], _: &mut Vec<u8>, _: &mut BufferPool) -> usize {
        match self.never {}
    }

    pub(super) fn seal(&mut self, _: &[u8], _: &mut BufferPool) -> Option<Buffer> {
        match self.never {}
    }

    pub(super) fn goodbye(&mut self, _: &mut BufferPool) -> Option<Buffer> {
        match self.never {}
    }
}
