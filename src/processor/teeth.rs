//! Parts of the protocol that a test can take out, one at a time, to see that the simulator notices. In the program
//! itself nothing can be taken out: the question is a constant there.

#[cfg(test)]
use std::cell::Cell;

/// What is taken out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tooth {
    /// A cell takes in records that it holds already.
    LastOffsetPerCell,
    /// Readings that the loaded state covers are not written again.
    RewriteCovered,
    /// Windows that waited for the state are not sent along with it.
    WindowsWithState,
    /// Alerts are sent together with the state that has seen them.
    OutputsBeforeState,
    /// State is sent as soon as the alerts of some of the records that it covers are acknowledged.
    GateOnAllCovered,
    /// Records count as acknowledged once they are sent.
    OffsetsLast,
    /// A sensor is forgotten while its write flies.
    InFlightEviction,
    /// The largest event time comes from an earlier write than the offset beside it.
    NewestInStateCell,
    /// A window that starts at the largest event time counts as empty.
    NewestStrictly,
    /// A source may start anywhere.
    Ledger,
}

#[cfg(test)]
thread_local! {
    static OUT: Cell<Option<Tooth>> = const { Cell::new(None) };
}

/// Takes a part out, for this thread; `None` puts it back.
#[cfg(test)]
pub fn take_out(tooth: Option<Tooth>) {
    OUT.set(tooth);
}

#[cfg(test)]
pub fn is_out(tooth: Tooth) -> bool {
    OUT.get() == Some(tooth)
}

#[cfg(not(test))]
pub const fn is_out(_: Tooth) -> bool {
    false
}
