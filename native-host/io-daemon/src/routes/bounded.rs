//! JSON that is bounded while it is parsed.
//!
//! A body of the longest length may hold a list of the shortest entries, and a `Vec` of those takes many times the memory of
//! the text. So a list stops at its limit, and the components of a path are joined as they come.

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
        struct List<T, const MAX: usize>(Vec<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX} entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut entries: A) -> Result<Vec<T>, A::Error> {
                while self.0.len() < MAX {
                    match entries.next_element()? {
                        Some(entry) => self.0.push(entry),
                        None => return Ok(self.0),
                    }
                }
                match entries.next_element::<IgnoredAny>()? {
                    Some(_) => Err(A::Error::custom(format_args!("a list has more than {MAX} entries"))),
                    None => Ok(self.0),
                }
            }
        }

        deserializer.deserialize_seq(List::<T, MAX>(Vec::new())).map(Self)
    }
}

/// A list of components as one path, or what is wrong with it: a padding file's path does not matter.
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

/// One component, which is only copied into the path.
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
    fn components_are_joined_and_the_first_bad_one_is_told() {
        let parse = |text: &str| serde_json::from_str::<PathBody>(text).map(|path| path.0);

        assert_eq!(parse(r#"["a","b\u0041"]"#).unwrap().unwrap().as_str(), "a/bA");
        assert_eq!(parse("[]").unwrap().unwrap_err(), "a path has no components");
        assert!(parse(r#"["a","..","/"]"#).unwrap().unwrap_err().contains("is not a name"));
        assert!(parse(r#"["a","..",1]"#).is_err());
        assert!(parse(r#"["a",1]"#).is_err());
        assert!(parse("1").is_err());
    }
}
