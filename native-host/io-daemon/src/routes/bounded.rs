//! JSON that is bounded while it is parsed.
//!
//! A body of the longest length may be a list of the shortest entries, and a `Vec` of those takes many times the memory
//! of the text. So parsing a list stops at its limit, and the components of a path are joined while they are parsed.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

use crate::disk::path::{FilePath, Joining};

/// A list of at most `MAX` entries.
pub(super) struct AtMost<T, const MAX: usize>(pub(super) Vec<T>);

impl<T, const MAX: usize> Default for AtMost<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for AtMost<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut entries = Vec::new();
        More::<T, MAX>(&mut entries).deserialize(deserializer)?;
        Ok(Self(entries))
    }
}

/// At most `MAX` lists, which have at most `MAX` entries together.
pub(super) struct Grouped<T, const MAX: usize> {
    entries: Vec<T>,
    /// The index in the entries at which each list ends.
    ends: Vec<usize>,
}

impl<T, const MAX: usize> Grouped<T, MAX> {
    /// The lists that are not empty, each of what `f` makes of its entries.
    pub(super) fn try_map<U, E>(self, f: impl Fn(T) -> Result<U, E>) -> Result<Vec<Vec<U>>, E> {
        let mut entries = self.entries.into_iter();
        let mut begin = 0;
        let mut groups = Vec::with_capacity(self.ends.len());
        for end in self.ends {
            let group: Vec<_> = entries.by_ref().take(end - begin).map(&f).collect::<Result<_, _>>()?;
            begin = end;
            if !group.is_empty() {
                groups.push(group);
            }
        }
        Ok(groups)
    }
}

impl<T, const MAX: usize> Default for Grouped<T, MAX> {
    fn default() -> Self {
        Self { entries: Vec::new(), ends: Vec::new() }
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Grouped<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lists<T, const MAX: usize>(Grouped<T, MAX>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Lists<T, MAX> {
            type Value = Grouped<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "lists of at most {MAX} entries together")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut lists: A) -> Result<Self::Value, A::Error> {
                while lists.next_element_seed(More::<T, MAX>(&mut self.0.entries))?.is_some() {
                    if self.0.ends.len() == MAX {
                        return Err(A::Error::custom(format_args!("there are more than {MAX} lists")));
                    }
                    self.0.ends.push(self.0.entries.len());
                }
                Ok(self.0)
            }
        }

        deserializer.deserialize_seq(Lists(Self::default()))
    }
}

/// Appends a list to another one, until that has `MAX` entries.
struct More<'a, T, const MAX: usize>(&'a mut Vec<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> DeserializeSeed<'de> for More<'_, T, MAX> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for More<'_, T, MAX> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX} entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while self.0.len() < MAX {
            match entries.next_element()? {
                Some(entry) => self.0.push(entry),
                None => return Ok(()),
            }
        }
        match entries.next_element::<IgnoredAny>()? {
            Some(_) => Err(A::Error::custom(format_args!("a list has more than {MAX} entries"))),
            None => Ok(()),
        }
    }
}

/// A list of components as one path, or what is wrong with it. It is no parse error, because the path of a padding file
/// does not matter.
pub(super) struct PathBody(pub(super) Result<FilePath, String>);

impl<'de> Deserialize<'de> for PathBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Components;

        impl<'de> Visitor<'de> for Components {
            type Value = PathBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of path components")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut components: A) -> Result<PathBody, A::Error> {
                let mut joining = Joining::default();
                while let Some(pushed) = components.next_element_seed(Component(&mut joining))? {
                    if let Err(wrong) = pushed {
                        while components.next_element_seed(Component(&mut Joining::default()))?.is_some() {}
                        return Ok(PathBody(Err(wrong)));
                    }
                }
                Ok(PathBody(joining.end()))
            }
        }

        deserializer.deserialize_seq(Components)
    }
}

/// One component. It is copied into the path and nowhere else.
struct Component<'a>(&'a mut Joining);

impl<'de> DeserializeSeed<'de> for Component<'_> {
    type Value = Result<(), String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Component<'_> {
    type Value = Result<(), String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path component")
    }

    fn visit_str<E: serde::de::Error>(self, component: &str) -> Result<Self::Value, E> {
        Ok(self.0.push(component))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_at_its_limit() {
        let parse = |text: &str| serde_json::from_str::<AtMost<u8, 3>>(text).map(|list| list.0);

        assert_eq!(parse("[]").unwrap(), [0; 0]);
        assert_eq!(parse("[1,2,3]").unwrap(), [1, 2, 3]);
        assert!(parse("[1,2,3,4]").unwrap_err().to_string().contains("more than 3 entries"));
        assert!(parse("[1,2,3,\"x\"]").is_err());
        assert!(parse("[1,2,3").is_err());
    }

    #[test]
    fn lists_share_one_limit_and_are_not_more_than_that() {
        let parse =
            |text: &str| serde_json::from_str::<Grouped<u8, 3>>(text).map(|lists| lists.try_map(Ok::<_, ()>).unwrap());

        assert_eq!(parse("[]").unwrap(), [[0; 0]; 0]);
        assert_eq!(parse("[[1,2],[],[3]]").unwrap(), [vec![1, 2], vec![3]]);
        for wrong in ["[[1,2],[3,4]]", "[[1,2,3],[4]]", "[[],[],[],[]]", "[1]", "[[1],[2,\"x\"]]", "[[1]"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn components_are_joined_and_the_first_bad_one_is_reported() {
        let parse = |text: &str| serde_json::from_str::<PathBody>(text).map(|path| path.0);

        assert_eq!(parse(r#"["a","b\u0041"]"#).unwrap().unwrap().as_str(), "a/bA");
        assert_eq!(parse("[]").unwrap().unwrap_err(), "a path has no components");
        assert!(parse(r#"["a","..","/"]"#).unwrap().unwrap_err().contains("is not a name"));
        assert!(parse(r#"["a","..",1]"#).is_err());
        assert!(parse(r#"["a",1]"#).is_err());
        assert!(parse("1").is_err());
    }
}
