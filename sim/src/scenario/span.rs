//! Spans of time as people write them: exactly, and back.

use super::{MS, SECOND, US};

/// A span in the largest unit that tells it exactly: 1.5s, 20ms, 3us, 7ns.
#[must_use]
pub fn exact(ns: u64) -> String {
    let (unit, name) = match ns {
        0 => return "0s".to_owned(),
        SECOND.. => (SECOND, "s"),
        MS.. => (MS, "ms"),
        US.. => (US, "us"),
        _ => (1, "ns"),
    };
    let (whole, mut rest) = (ns / unit, ns % unit);
    if rest == 0 {
        return format!("{whole}{name}");
    }
    let mut digits = unit.ilog10() as usize;
    while rest.is_multiple_of(10) {
        rest /= 10;
        digits -= 1;
    }
    format!("{whole}.{rest:0digits$}{name}")
}

/// The span that a text tells.
///
/// # Errors
/// What is wrong with it, and what is right.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no span of time: say 1.5s, 20ms, 3us or 7ns");
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let unit: u64 = match unit {
        "s" => SECOND,
        "ms" => MS,
        "us" => US,
        "ns" => 1,
        _ => return Err(wrong()),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let digits = u32::try_from(part.len()).map_err(|_| wrong())?;
    if whole.is_empty() || !is_number(whole) || !is_number(part) || digits > unit.ilog10() {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let part: u64 = if part.is_empty() { 0 } else { part.parse().map_err(|_| wrong())? };
    let part = part * (unit / 10_u64.pow(digits));
    whole
        .checked_mul(unit)
        .and_then(|ns| ns.checked_add(part))
        .filter(|ns| *ns <= 1_000_000 * SECOND)
        .ok_or_else(|| format!("{text} is too long: a run lasts a million seconds at most"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn every_span_is_read_back_exactly() {
        let mut rng = Rng::stream(1, "span");
        for _ in 0..10_000 {
            let ns = rng.magnitude(1, 100_000 * SECOND);
            let text = exact(ns);
            assert_eq!(parse(&text), Ok(ns), "{text}");
        }
        for (ns, text) in [(0, "0s"), (1_500 * MS, "1.5s"), (20 * MS + 50 * US, "20.05ms"), (7, "7ns")] {
            assert_eq!((exact(ns), parse(text)), (text.to_owned(), Ok(ns)));
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "5", "s", "-1s", "1.s5", "1.0000001us", "1h", "1e3s", "9999999999s", ".5s", "1..5s"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        // A point with nothing behind it is harmless.
        assert_eq!(parse("1.s"), Ok(SECOND));
    }
}
