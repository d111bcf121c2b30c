//! Parsing of signals.

use trine_container::Error;

/// Parses the name or number of a signal: `TERM`, `SIGTERM`, `term`, `15`, `RTMIN+3`; 0 sends none.
///
/// # Errors
/// There is no such signal.
pub fn parse(text: &str) -> Result<i32, Error> {
    match text {
        "0" => Ok(0),
        _ => trine_control::signals::parse(text)
            .map_err(|_| Error::refused(format!("unknown signal '{text}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in
            [("TERM", 15), ("SIGKILL", 9), ("usr1", 10), ("9", 9), ("0", 0), ("RTMAX-1", 63)]
        {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for text in ["", "SIG", "65", "-1", "RTMIN+99", "KILLER"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
