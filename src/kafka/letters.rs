//! Dead letters after they were written by [`super::dead_letters`]: read back, sent again, and remembered as sent.
//!
//! Nothing here commits an offset: letters stay where they are until the topic's retention takes them.

mod letter;
mod marks;
mod reader;
mod sender;

pub use letter::{HEADER_ATTEMPTS, HEADER_FROM, Letter, Origin, Place};
pub use marks::{Mark, ReplayMarks, marks_topic};
pub use reader::{Span, TopicReader};
pub use sender::{Fate, LetterSender, Outgoing};
