//! Who is calling.

pub mod record;
