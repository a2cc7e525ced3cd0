//! What each host must hold.
