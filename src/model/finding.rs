//! What a preflight check found.

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    Ok,
    /// It works, and somebody should know.
    Warning,
    /// It does not work, or a guarantee is broken.
    Wrong,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Wrong => "wrong",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What was looked at, for example `topic alerts`.
    pub check: String,
    pub verdict: Verdict,
    pub found: String,
    /// What to do; empty where all is well.
    pub remedy: String,
}

impl Finding {
    pub fn ok(check: impl Into<String>, found: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Ok, found, "")
    }

    pub fn warning(check: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Warning, found, remedy)
    }

    pub fn wrong(check: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Wrong, found, remedy)
    }

    fn new(check: impl Into<String>, verdict: Verdict, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            check: check.into(),
            verdict,
            found: found.into(),
            remedy: remedy.into(),
        }
    }
}
