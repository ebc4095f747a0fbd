//! Where in the text a path stands. Neither serde nor our YAML reader keep positions, so the text
//! is scanned again, by indentation and brackets, when somebody needs a line; and once before it is
//! parsed, to refuse what is nested so deeply that a recursive parser would be at risk.

use super::path::Seg;
use std::collections::BTreeMap;

/// Deeper nesting than any real object has (the API server's own limit is of the same order).
pub(crate) const MAX_DEPTH: usize = 100;

/// Told of every key and list element: its path, its line and, if it has one, its unquoted scalar.
pub(crate) trait Visit {
    /// A key or element.
    fn entry(&mut self, path: &[Seg], line: usize, plain: &str);
}

/// The text is nested deeper than [`MAX_DEPTH`] at this line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooDeep {
    /// 1-based line.
    pub(crate) line: usize,
}

/// Walks through one YAML or JSON document whose first line has this number.
pub(crate) fn scan(text: &str, first_line: usize, visit: &mut dyn Visit) -> Result<(), TooDeep> {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        text,
        at: 0,
        line: first_line,
        blocks: Vec::new(),
        path: Vec::new(),
        visit,
    };
    while scanner.at < scanner.bytes.len() {
        scanner.block_line()?;
    }
    Ok(())
}

/// Lines of wanted paths. A path that is not in the text gets the line of its nearest parent.
#[derive(Debug)]
pub(crate) struct Wanted(BTreeMap<Vec<Seg>, Option<usize>>);

impl Wanted {
    /// Looks for these paths in a document.
    pub(crate) fn find<'p>(
        text: &str,
        first_line: usize,
        paths: impl IntoIterator<Item = &'p [Seg]>,
    ) -> Self {
        let mut wanted = BTreeMap::new();
        for path in paths {
            for end in 1..=path.len() {
                wanted.insert(path[..end].to_vec(), None);
            }
        }
        let mut found = Self(wanted);
        if !found.0.is_empty() {
            // Too deep a text has been refused before; what was found up to there is right.
            let _complete = scan(text, first_line, &mut found).is_ok();
        }
        found
    }

    /// The line of a path or of its nearest parent.
    pub(crate) fn line(&self, path: &[Seg]) -> Option<usize> {
        (1..=path.len()).rev().find_map(|end| self.0.get(&path[..end]).copied().flatten())
    }
}

impl Visit for Wanted {
    fn entry(&mut self, path: &[Seg], line: usize, _plain: &str) {
        if let Some(slot) = self.0.get_mut(path) {
            slot.get_or_insert(line);
        }
    }
}

/// An open block collection: the column of its keys or dashes.
#[derive(Debug, Clone, Copy)]
struct Block {
    column: usize,
    sequence: bool,
}

struct Scanner<'t, 'v> {
    bytes: &'t [u8],
    text: &'t str,
    at: usize,
    line: usize,
    blocks: Vec<Block>,
    /// One step per open collection.
    path: Vec<Seg>,
    visit: &'v mut dyn Visit,
}

impl Scanner<'_, '_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn bump(&mut self) {
        if self.peek() == Some(b'\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|b| b != b'\n') {
            self.at += 1;
        }
        self.bump();
    }

    fn skip_spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    /// One line in block context (and what its value spans).
    fn block_line(&mut self) -> Result<(), TooDeep> {
        let start = self.at;
        self.skip_spaces();
        let mut column = self.at - start;
        loop {
            match self.peek() {
                None => return Ok(()),
                Some(b'\n' | b'#') => {
                    self.skip_line();
                    return Ok(());
                }
                Some(b'%') if column == 0 => {
                    self.skip_line();
                    return Ok(());
                }
                Some(_) => {}
            }
            if !self.dash() {
                return self.entry_or_scalar(column);
            }
            self.open(column, true)?;
            self.at += 1;
            self.skip_spaces();
            column = self.at - start;
            self.properties();
            if !matches!(self.peek(), None | Some(b'\n' | b'#'))
                && !self.key_ahead()
                && !self.dash()
            {
                self.tell();
                return self.value(self.blocks.last().map_or(0, |b| b.column));
            }
            self.visit.entry(&self.path, self.line, "");
        }
    }

    fn dash(&self) -> bool {
        self.peek() == Some(b'-')
            && self.bytes.get(self.at + 1).is_none_or(|b| matches!(b, b' ' | b'\n' | b'\r' | b'\t'))
    }

    /// Makes the collection at a column the innermost one and steps to its next element.
    fn open(&mut self, column: usize, sequence: bool) -> Result<(), TooDeep> {
        while let Some(top) = self.blocks.last() {
            let ended = top.column > column
                || top.column == column && top.sequence && !sequence
                // `key:` and the dashes below it may share a column.
                || top.column == column && !top.sequence && sequence && self.blocks.len() > 1
                    && self.blocks[self.blocks.len() - 2].column == column
                    && self.blocks[self.blocks.len() - 2].sequence;
            if !ended {
                break;
            }
            self.blocks.pop();
            self.path.pop();
        }
        let same = self.blocks.last().is_some_and(|t| t.column == column && t.sequence == sequence);
        if !same {
            self.blocks.push(Block { column, sequence });
            self.path.push(Seg::Index(0));
            if self.path.len() > MAX_DEPTH {
                return Err(TooDeep { line: self.line });
            }
        } else if let Some(Seg::Index(i)) = self.path.last_mut() {
            *i += 1;
        }
        Ok(())
    }

    /// `key: value`, or a scalar that goes on or stands alone, or a flow collection.
    fn entry_or_scalar(&mut self, column: usize) -> Result<(), TooDeep> {
        if self.path.is_empty() && matches!(self.peek(), Some(b'{' | b'[')) {
            return self.flow();
        }
        let Some((key, after)) = self.key() else {
            return self.value(column);
        };
        self.open(column, false)?;
        if let Some(last) = self.path.last_mut() {
            *last = Seg::Key(key);
        }
        self.at = after;
        self.skip_spaces();
        self.properties();
        self.tell();
        self.value(column)
    }

    /// Skips `&anchor` and `!tag` in front of a value.
    fn properties(&mut self) {
        while matches!(self.peek(), Some(b'&' | b'!')) {
            while self.peek().is_some_and(|b| !b.is_ascii_whitespace()) {
                self.at += 1;
            }
            self.skip_spaces();
        }
    }

    /// Reports the entry that begins here.
    fn tell(&mut self) {
        let plain = match self.peek() {
            None | Some(b'"' | b'\'' | b'{' | b'[' | b'|' | b'>' | b'&' | b'*' | b'#') => "",
            Some(_) => plain_scalar(&self.text[self.at..]),
        };
        self.visit.entry(&self.path, self.line, plain);
    }

    fn key_ahead(&self) -> bool {
        self.key().is_some()
    }

    /// The key that begins here and the offset behind its colon.
    fn key(&self) -> Option<(String, usize)> {
        let rest = &self.text[self.at..];
        let line = rest.lines().next()?;
        let (key, end) = match line.as_bytes().first()? {
            quote @ (b'"' | b'\'') => quoted(line, *quote)?,
            b'{' | b'[' | b'|' | b'>' => return None,
            _ => {
                let end = plain_colon(line)?;
                (line[..end].trim_end().to_owned(), end)
            }
        };
        let tail = line[end..].trim_start_matches([' ', '\t']);
        let colon = line.len() - tail.len();
        let follows = tail.as_bytes().get(1).is_none_or(|b| matches!(b, b' ' | b'\t' | b'\r'));
        (tail.starts_with(':') && follows).then_some((key, self.at + colon + 1))
    }

    /// Skips the value of an entry of a collection at this column.
    fn value(&mut self, column: usize) -> Result<(), TooDeep> {
        match self.peek() {
            Some(b'{' | b'[') => {
                self.flow()?;
                self.skip_line();
            }
            Some(b'|' | b'>') => self.block_scalar(column),
            Some(quote @ (b'"' | b'\'')) => {
                self.skip_quoted(quote);
                self.skip_line();
            }
            _ => self.skip_line(),
        }
        Ok(())
    }

    /// Skips a literal or folded scalar: every line that is blank or further in than its parent.
    fn block_scalar(&mut self, column: usize) {
        self.skip_line();
        while self.at < self.bytes.len() {
            let rest = &self.bytes[self.at..];
            let indent = rest.iter().take_while(|b| **b == b' ').count();
            let blank = matches!(rest.get(indent), None | Some(b'\n' | b'\r'));
            if !blank && indent <= column && !(column == 0 && self.blocks.is_empty()) {
                return;
            }
            self.skip_line();
        }
    }

    fn skip_quoted(&mut self, quote: u8) {
        self.bump();
        while let Some(byte) = self.peek() {
            if byte == b'\\' && quote == b'"' {
                self.bump();
            } else if byte == quote {
                if quote == b'\'' && self.bytes.get(self.at + 1) == Some(&b'\'') {
                    self.at += 1;
                } else {
                    self.at += 1;
                    return;
                }
            }
            self.bump();
        }
    }

    /// A flow collection: JSON, or YAML in brackets.
    fn flow(&mut self) -> Result<(), TooDeep> {
        let base = self.path.len();
        // Per open bracket: true for a list. An entry is told when its key or first byte is seen.
        let mut open: Vec<bool> = Vec::new();
        let mut fresh = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'{' | b'[' => {
                    self.element(&open, &mut fresh);
                    open.push(byte == b'[');
                    self.path.push(Seg::Index(0));
                    if self.path.len() > MAX_DEPTH {
                        return Err(TooDeep { line: self.line });
                    }
                    fresh = true;
                    self.bump();
                }
                b'}' | b']' => {
                    open.pop();
                    self.path.truncate(base + open.len());
                    self.bump();
                    fresh = false;
                    if open.is_empty() {
                        return Ok(());
                    }
                }
                b',' => {
                    if open.last() == Some(&true)
                        && let Some(Seg::Index(i)) = self.path.last_mut()
                    {
                        *i += 1;
                    }
                    fresh = true;
                    self.bump();
                }
                b'#' if self.at == 0 || self.bytes[self.at - 1].is_ascii_whitespace() => {
                    self.skip_line();
                }
                b':' | b' ' | b'\t' | b'\r' | b'\n' => self.bump(),
                _ => self.flow_scalar(&open, &mut fresh),
            }
        }
        self.path.truncate(base);
        Ok(())
    }

    /// Tells the list element that begins here.
    fn element(&mut self, open: &[bool], fresh: &mut bool) {
        if *fresh && open.last() == Some(&true) {
            self.visit.entry(&self.path, self.line, "");
            *fresh = false;
        }
    }

    /// A key, or a scalar value.
    fn flow_scalar(&mut self, open: &[bool], fresh: &mut bool) {
        let (start, line) = (self.at, self.line);
        let text = match self.peek() {
            Some(quote @ (b'"' | b'\'')) => {
                self.skip_quoted(quote);
                let end = self.at.min(self.bytes.len());
                quoted(&self.text[start..end], quote).map(|(key, _)| key).unwrap_or_default()
            }
            _ => {
                let end = |b: &u8| matches!(b, b',' | b'{' | b'}' | b'[' | b']' | b'\n');
                while self.peek().is_some_and(|b| !end(&b) && !self.flow_colon()) {
                    self.at += 1;
                }
                self.text[start..self.at].trim().to_owned()
            }
        };
        if self.at == start {
            self.bump();
        }
        if !*fresh {
            return;
        }
        *fresh = false;
        if open.last() == Some(&false)
            && let Some(last) = self.path.last_mut()
        {
            *last = Seg::Key(text);
            // Flow scalars count as quoted: what they mean in YAML 1.1 is left alone.
        }
        self.visit.entry(&self.path, line, "");
    }

    fn flow_colon(&self) -> bool {
        self.peek() == Some(b':')
            && self
                .bytes
                .get(self.at + 1)
                .is_none_or(|b| matches!(b, b' ' | b'\n' | b'\r' | b',' | b'}' | b']'))
    }
}

/// The plain scalar at the start of the text, without a comment.
fn plain_scalar(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    let end = line.find(" #").unwrap_or(line.len());
    line[..end].trim()
}

/// Offset of the colon that ends a plain key.
fn plain_colon(line: &str) -> Option<usize> {
    let comment = line.find(" #").unwrap_or(line.len());
    let line = &line[..comment];
    line.find(": ").or_else(|| line.find(":\t")).or_else(|| {
        let trimmed = line.trim_end();
        trimmed.ends_with(':').then(|| trimmed.len() - 1)
    })
}

/// The quoted text at the start of a line and the offset behind it.
fn quoted(line: &str, quote: u8) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = line.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote == b'"' {
            text.extend(chars.next().map(|(_, escaped)| escaped));
        } else if c == char::from(quote) {
            if quote == b'\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') {
                chars.next();
                text.push('\'');
            } else {
                return Some((text, at + 1));
            }
        } else {
            text.push(c);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::path::FieldPath;
    use super::*;
    use proptest::prelude::*;

    #[derive(Default)]
    struct All(Vec<String>);

    impl Visit for All {
        fn entry(&mut self, path: &[Seg], line: usize, plain: &str) {
            let path = FieldPath(path.to_vec());
            self.0.push(format!("{line} {path} {plain}").trim_end().to_owned());
        }
    }

    fn all(text: &str) -> String {
        let mut all = All::default();
        scan(text, 1, &mut all).unwrap();
        all.0.join("\n")
    }

    #[test]
    fn block_yaml_is_followed_by_indentation() {
        let text = "\
# comment
kind: Pod
metadata:
  name: \"x\"   # quoted
  annotations: {a: b, \"c d\": [1, 2]}
spec:
  containers:
  - name: a
    args: [\"-c\", x]
    command:
    - |
      spec: not a key
      - nor an item
    - yes
  - image: b
    'name': two

    env:
      -
        name: E
        value: >-
          folded: text
  x: &anchor
    y: on
";
        insta::assert_snapshot!(all(text), @r#"
2 kind Pod
3 metadata
4 metadata.name
5 metadata.annotations
5 metadata.annotations.a
5 metadata.annotations[c d]
5 metadata.annotations[c d][0]
5 metadata.annotations[c d][1]
6 spec
7 spec.containers
8 spec.containers[0]
8 spec.containers[0].name a
9 spec.containers[0].args
9 spec.containers[0].args[0]
9 spec.containers[0].args[1]
10 spec.containers[0].command
11 spec.containers[0].command[0]
14 spec.containers[0].command[1] yes
15 spec.containers[1]
15 spec.containers[1].image b
16 spec.containers[1].name two
18 spec.containers[1].env
19 spec.containers[1].env[0]
20 spec.containers[1].env[0].name E
21 spec.containers[1].env[0].value
23 spec.x
24 spec.x.y on
"#);
    }

    #[test]
    fn json_is_followed_by_brackets() {
        let text = "{\n \"a\": [\n  {\"b\": 1},\n  {\"b\": {\"c\": \"}\"}}\n ],\n \"d\": null\n}";
        insta::assert_snapshot!(all(text), @r#"
2 a
3 a[0]
3 a[0].b
4 a[1]
4 a[1].b
4 a[1].b.c
6 d
"#);
    }

    #[test]
    fn deep_nesting_is_refused_without_recursion() {
        let deep = "[".repeat(1_000_000);
        assert_eq!(scan(&deep, 1, &mut All::default()), Err(TooDeep { line: 1 }));
        let dashes = "- ".repeat(1_000_000);
        assert!(scan(&dashes, 1, &mut All::default()).is_err());
        let steps: String = (0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        assert!(scan(&steps, 1, &mut All::default()).is_err());
    }

    #[test]
    fn a_missing_path_gets_the_line_of_its_parent() {
        let path = |keys: &[&str]| -> Vec<Seg> {
            keys.iter().map(|k| Seg::Key((*k).to_owned())).collect()
        };
        let wanted = [path(&["a", "b", "c"]), path(&["z"])];
        let lines = Wanted::find("a:\n  b: 1\n", 10, wanted.iter().map(Vec::as_slice));
        assert_eq!(lines.line(&wanted[0]), Some(11));
        assert_eq!(lines.line(&wanted[1]), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-a:\\[\\]{}|>\"'&!#%, \n\\\\é]{0,60}") {
            let _scanned = scan(&text, 1, &mut All::default()).is_ok();
        }
    }
}
