//! Rows whose order within a group is not the one that is wanted.

use std::cmp::Ordering;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

/// Puts the rows of each group in order and leaves the groups as they come. One group is held back, and the first row of
/// the next; never more.
pub(super) fn in_order<'a, T: Send + 'a, E: Send + 'a>(
    rows: BoxStream<'a, Result<T, E>>,
    is_same_group: fn(&T, &T) -> bool,
    order: fn(&T, &T) -> Ordering,
) -> BoxStream<'a, Result<T, E>> {
    let groups = stream::try_unfold((rows.fuse(), None), move |(mut rows, first)| async move {
        let first = match first {
            Some(row) => Some(row),
            None => rows.try_next().await?,
        };
        let mut group: Vec<T> = first.into_iter().collect();
        let mut next = None;
        while !group.is_empty()
            && let Some(row) = rows.try_next().await?
        {
            if !is_same_group(&group[0], &row) {
                next = Some(row);
                break;
            }
            group.push(row);
        }
        if group.is_empty() {
            return Ok(None);
        }
        group.sort_by(order);
        Ok(Some((stream::iter(group.into_iter().map(Ok)), (rows, next))))
    });
    groups.try_flatten().boxed()
}
