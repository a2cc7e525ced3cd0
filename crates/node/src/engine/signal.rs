// SPDX-License-Identifier: Apache-2.0
//! Stop signals as image configurations write them. The spellings are those Docker takes.

use nix::sys::signal::Signal;

/// The first real-time signal that programs may use; glibc keeps the two below.
const RTMIN: u32 = 34;
/// The last real-time signal, and the highest signal of all.
const RTMAX: u32 = 64;
/// Docker names real-time signals up to this distance from `RTMIN`.
const ABOVE_RTMIN_MAX: u32 = 15;
/// Docker names real-time signals up to this distance from `RTMAX`.
const BELOW_RTMAX_MAX: u32 = 14;

/// The number of a signal: `SIGQUIT`, `quit`, `3` or `RTMIN+3`. `None` for what names no signal.
pub(super) fn number(written: &str) -> Option<u32> {
    if let Ok(number) = written.parse::<u32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = written.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |text: &str, sign: char, most: u32| -> Option<u32> {
        let digits = text.strip_prefix(sign)?;
        let offset = digits.parse().ok().filter(|offset| (1..=most).contains(offset))?;
        // `RTMIN+03` and `RTMIN++3` name nothing.
        (offset.to_string() == digits).then_some(offset)
    };
    match name {
        "RTMIN" => Some(RTMIN),
        "RTMAX" => Some(RTMAX),
        "CLD" => number("CHLD"),
        "IOT" => number("ABRT"),
        "POLL" => number("IO"),
        _ => match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(rest), _) => Some(RTMIN + offset(rest, '+', ABOVE_RTMIN_MAX)?),
            (None, Some(rest)) => Some(RTMAX - offset(rest, '-', BELOW_RTMAX_MAX)?),
            (None, None) => {
                let signal: Signal = format!("SIG{name}").parse().ok()?;
                u32::try_from(signal as i32).ok()
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_written_as_for_docker() {
        let cases = [
            ("SIGTERM", Some(15)),
            ("TERM", Some(15)),
            ("sigterm", Some(15)),
            ("Term", Some(15)),
            ("15", Some(15)),
            ("SIGQUIT", Some(3)),
            ("WINCH", Some(28)),
            ("CLD", Some(17)),
            ("iot", Some(6)),
            ("SIGPOLL", Some(29)),
            ("STKFLT", Some(16)),
            ("RTMIN", Some(34)),
            ("SIGRTMIN", Some(34)),
            ("RTMIN+3", Some(37)),
            ("sigrtmin+3", Some(37)),
            ("SIGRTMIN+15", Some(49)),
            ("RTMAX-14", Some(50)),
            ("SIGRTMAX-1", Some(63)),
            ("RTMAX", Some(64)),
            ("64", Some(64)),
            ("65", None),
            ("0", None),
            ("", None),
            ("SIG", None),
            ("SIGNONE", None),
            ("SIGSIGTERM", None),
            (" TERM", None),
            ("RTMIN+0", None),
            ("RTMIN+16", None),
            ("RTMIN+03", None),
            ("RTMIN++3", None),
            ("RTMIN-1", None),
            ("RTMAX-15", None),
            ("RTMAX+1", None),
        ];
        for (written, expected) in cases {
            assert_eq!(number(written), expected, "{written:?}");
        }
    }
}
