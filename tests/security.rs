//! TLS and logins, on real servers that want them: who has the right ones gets in, who has not is told why in one line, after
//! a few connections at most, and no secret is ever shown.

mod doors;
mod let_in;
mod mid_run;
mod refused;
mod secrets;
mod site;
