//! Interned names of measures: an answer of a million readings has few kinds, and should not hold a million strings.

use crate::model::Kind;

/// Names kept. A sensor has a handful of kinds; what goes beyond is a stranger's data and is simply not shared.
const MAX_KEPT: usize = 256;

/// The kinds seen so far by one answer.
#[derive(Default)]
pub(super) struct Kinds {
    seen: Vec<Kind>,
}

impl Kinds {
    pub(super) fn get(&mut self, name: &str) -> Kind {
        if let Some(kind) = self.seen.iter().find(|kind| kind.as_str() == name) {
            return kind.clone();
        }
        let kind = Kind::new(name);
        if self.seen.len() < MAX_KEPT {
            self.seen.push(kind.clone());
        }
        kind
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn one_name_is_one_allocation() {
        let mut kinds = Kinds::default();
        let (first, other, again) = (kinds.get("light"), kinds.get("motion"), kinds.get("light"));
        assert!(Arc::ptr_eq(&first.0, &again.0));
        assert_ne!(first, other);
    }
}
