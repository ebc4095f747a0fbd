//! Places in the scenario file: building them, and reading them from the command line.

use super::path::nearest;
pub(crate) use super::path::{FieldPath as Place, Seg};

impl Place {
    /// The field `key` below this place.
    pub(crate) fn key(&self, key: &str) -> Self {
        let mut deeper = self.clone();
        deeper.0.push(Seg::Key(key.to_owned()));
        deeper
    }

    /// Item `index` below this place.
    pub(crate) fn item(&self, index: usize) -> Self {
        let mut deeper = self.clone();
        deeper.0.push(Seg::Index(index));
        deeper
    }

    /// True if this place is `other` or stands below it.
    pub(crate) fn within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// Reads `a.b[0][c.d/e]`: a number in brackets is an index, anything else a key.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut place = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (seg, tail) = next_seg(text, rest, place.0.is_empty())?;
            place.0.push(seg);
            rest = tail;
        }
        if place.0.is_empty() { Err("the path is empty".into()) } else { Ok(place) }
    }
}

fn next_seg<'a>(whole: &str, rest: &'a str, first: bool) -> Result<(Seg, &'a str), String> {
    let bad = || format!("{whole:?} is not a path such as cluster.nodes[0].count");
    if let Some(inner) = rest.strip_prefix('[') {
        let (inside, tail) = inner.split_once(']').ok_or_else(bad)?;
        let seg = inside
            .parse()
            .map_or_else(|_| Seg::Key(inside.trim_matches('"').to_owned()), Seg::Index);
        return if inside.is_empty() { Err(bad()) } else { Ok((seg, tail)) };
    }
    let body = if first { rest } else { rest.strip_prefix('.').ok_or_else(bad)? };
    let end = body.find(['.', '[']).unwrap_or(body.len());
    let (key, tail) = body.split_at(end);
    if key.is_empty() { Err(bad()) } else { Ok((Seg::Key(key.to_owned()), tail)) }
}

/// `did you mean X?`, or the alternatives if none is near and there are few.
pub(crate) fn suggest(word: &str, candidates: &[&str]) -> String {
    if let Some(near) = nearest(word, candidates.iter().copied()) {
        return format!("did you mean {near}?");
    }
    match candidates {
        [] => String::new(),
        [one] => format!("there is only {one}"),
        few if few.len() <= 24 => format!("possible here: {}", few.join(", ")),
        many => format!("possible here: {}, and {} more", many[..24].join(", "), many.len() - 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_survive_text() {
        for text in ["until", "cluster.nodes[0].count", "a[x.y/z].b[12][3]"] {
            assert_eq!(Place::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "a..b", "a[", "a[]", ".a", "a[0]b"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }
}
