//! Texts of a page: each kept once, made short, and harmless wherever they stand.
//!
//! What a history says may come from anybody. In a page it stands in three places, each with its own danger: between
//! tags ([`escape`]), in SVG files, which must also hold no character that XML forbids (the same), and as JSON within
//! a script element ([`harmless`]). Long values are cut: a page shows, the history keeps.

use std::collections::BTreeMap;
use std::fmt;

/// The number of a text in a [`Texts`]; 0 is no text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub(super) struct Text(pub(super) u32);

impl Text {
    /// No text.
    pub(super) const ABSENT: Text = Text(0);

    /// Whether this is no text.
    pub(super) fn is_absent(self) -> bool {
        self == Text::ABSENT
    }
}

/// Texts by number, each once.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    texts: Vec<String>,
    numbers: BTreeMap<String, Text>,
}

impl Default for Texts {
    fn default() -> Self {
        Texts { texts: vec![String::new()], numbers: BTreeMap::from([(String::new(), Text::ABSENT)]) }
    }
}

impl Texts {
    /// The number of a text.
    pub(super) fn add(&mut self, text: &str) -> Text {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = Text(self.texts.len() as u32);
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }

    /// The text with this number.
    pub(super) fn text(&self, number: Text) -> &str {
        &self.texts[number.0 as usize]
    }

    /// All texts, by number.
    pub(super) fn all(&self) -> &[String] {
        &self.texts
    }
}

/// How many characters of a value are shown.
pub(super) const TEXT_MAX: usize = 160;

/// The text, or as many characters of its beginning with an ellipsis as the last of them. What comes after them is never
/// made, so a value may be as large as it likes.
pub(super) fn begin(text: fmt::Arguments<'_>, chars_max: usize) -> String {
    struct Room {
        text: String,
        left: usize,
    }
    impl fmt::Write for Room {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            match part.char_indices().nth(self.left) {
                None => {
                    self.left -= part.chars().count();
                    self.text.push_str(part);
                    Ok(())
                }
                Some((end, _)) => {
                    self.text.push_str(&part[..end]);
                    Err(fmt::Error)
                }
            }
        }
    }
    let mut room = Room { text: String::new(), left: chars_max };
    if fmt::write(&mut room, text).is_err() {
        room.text.pop();
        room.text.push('…');
    }
    room.text
}

/// The text, or its beginning and how long it is.
pub(super) fn cut(text: &str, chars_max: usize) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        None => text.into(),
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()).into(),
    }
}

/// Text that is nothing but text to HTML and to XML, within quotes too.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // XML has no spelling for these.
            '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                safe.push('\u{fffd}')
            }
            c => safe.push(c),
        }
    }
    safe
}

/// JSON that may stand within a script element. There `</script>` would end the element and `<!--` change how its end
/// is found; JSON has `<` within strings only, where it has a second spelling.
pub(super) fn harmless(json: &str) -> String {
    json.replace('<', "\\u003c")
}

/// A place that a sentence names: "line 12" or "event 12".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    /// Where in the sentence it begins and ends, in bytes.
    pub(super) start: usize,
    pub(super) end: usize,
    /// A line, or else an index.
    pub(super) is_line: bool,
    pub(super) number: u64,
}

/// The places that a sentence names, in order.
pub(super) fn mentions(sentence: &str) -> Vec<Mention> {
    let mut mentions = Vec::new();
    for (word, is_line) in [("line ", true), ("event ", false)] {
        for (start, _) in sentence.match_indices(word) {
            let digits = start + word.len();
            let length = sentence[digits..].bytes().take_while(u8::is_ascii_digit).count();
            let is_word = !sentence[..start].ends_with(char::is_alphanumeric);
            if let (true, Ok(number)) = (is_word, sentence[digits..digits + length].parse()) {
                mentions.push(Mention { start, end: digits + length, is_line, number });
            }
        }
    }
    mentions.sort_by_key(|mention| mention.start);
    mentions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_equal_numbers_and_no_text_is_nought() {
        let mut texts = Texts::default();
        let (a, b) = (texts.add("a"), texts.add("b"));
        assert_eq!((texts.add("a"), texts.add(""), texts.text(b)), (a, Text::ABSENT, "b"));
    }

    #[test]
    fn the_beginning_of_a_long_text_ends_with_an_ellipsis() {
        assert_eq!(begin(format_args!("{}{}", "äö", "ü"), 3), "äöü");
        assert_eq!(begin(format_args!("{}{}{}", "äö", "ü", "ß"), 3), "äö…");
        assert_eq!(begin(format_args!("{}", "äöüß"), 3), "äö…");
    }

    #[test]
    fn a_long_text_says_how_long_it_is() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äöü… (4 characters)");
    }

    #[test]
    fn escaped_text_has_no_markup_and_no_character_that_xml_forbids() {
        assert_eq!(escape("<a b=\"c\">&'\u{1}\n"), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;\u{fffd}\n");
    }

    #[test]
    fn sentences_name_lines_and_events() {
        let found = |sentence| -> Vec<_> {
            mentions(sentence).into_iter().map(|m| (&sentence[m.start..m.end], m.number)).collect()
        };
        let sentence = "it returned (line 9) before that began (event 11), online 3, line x, line 4";
        assert_eq!(found(sentence), [("line 9", 9), ("event 11", 11), ("line 4", 4)]);
        assert_eq!(found("line 99999999999999999999999 ends with line "), []);
    }
}
