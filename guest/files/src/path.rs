//! Normal form of paths.
//!
//! All paths are absolute: the guest has no working directory. Normalisation is lexical (`a/..` is
//! nothing, whether or not `a` exists), so it needs no file system and cannot leave the root.

use alloc::string::String;
use core::fmt;

use uio_protocol::error::FileError;
use uio_protocol::limits::PATH_BYTES_MAX;

/// Longest component in bytes, `NAME_MAX` of Linux: host file systems refuse longer ones anyway.
pub const COMPONENT_BYTES_MAX: usize = 255;

/// A path in normal form: `/`, or components each with a slash before it. No component is empty,
/// `.` or `..`, has a NUL or passes [`COMPONENT_BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsolutePath(String);

impl AbsolutePath {
    /// `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Brings `path` into normal form: repeated slashes and `.` vanish, `..` takes away the
    /// component before it and stops at the root.
    ///
    /// # Errors
    ///
    /// [`FileError::InvalidPath`] if `path` does not begin with a slash, is longer than
    /// [`PATH_BYTES_MAX`], holds a NUL, or has a component longer than [`COMPONENT_BYTES_MAX`].
    pub fn normalise(path: &str) -> Result<Self, FileError> {
        if path.len() > PATH_BYTES_MAX || !path.starts_with('/') || path.contains('\0') {
            return Err(FileError::InvalidPath);
        }
        let mut normal = String::with_capacity(path.len());
        for component in path.split('/') {
            match component {
                "" | "." => {}
                ".." => normal.truncate(normal.rfind('/').unwrap_or(0)),
                name if name.len() > COMPONENT_BYTES_MAX => return Err(FileError::InvalidPath),
                name => {
                    normal.push('/');
                    normal.push_str(name);
                }
            }
        }
        if normal.is_empty() {
            normal.push('/');
        }
        Ok(Self(normal))
    }

    /// The path with its leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same path seen from the root.
    #[must_use]
    pub fn relative(&self) -> RelativePath<'_> {
        RelativePath(&self.0[1..])
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A path in normal form below the root of one file system: `etc/passwd`; empty for that root
/// itself. Made only from an [`AbsolutePath`], so file systems need not check again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath<'a>(&'a str);

impl<'a> RelativePath<'a> {
    /// The root of the file system.
    pub const ROOT: Self = Self("");

    /// The components joined by slashes, without one in front.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether this is the root of its file system.
    #[must_use]
    pub fn is_root(self) -> bool {
        self.0.is_empty()
    }

    /// The components in order, none for the root.
    pub fn components(self) -> impl Iterator<Item = &'a str> + Clone {
        self.0.split('/').filter(|component| !component.is_empty())
    }

    /// The directory that holds the path, and its last component; none for the root.
    #[must_use]
    pub fn split_last(self) -> Option<(Self, &'a str)> {
        match self.0.rsplit_once('/') {
            Some((parent, name)) => Some((Self(parent), name)),
            None if self.is_root() => None,
            None => Some((Self::ROOT, self.0)),
        }
    }

    /// Last component, `/` for the root: what a listing shows.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.split_last().map_or("/", |(_, name)| name)
    }

    /// The rest of the path below `ancestor` (the root if they are equal), or none if it does not
    /// lie there.
    #[must_use]
    pub fn below(self, ancestor: RelativePath<'_>) -> Option<Self> {
        if ancestor.is_root() {
            return Some(self);
        }
        let rest = self.0.strip_prefix(ancestor.0)?;
        if rest.is_empty() { Some(Self::ROOT) } else { rest.strip_prefix('/').map(Self) }
    }
}

impl fmt::Display for RelativePath<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn normal(path: &str) -> String {
        AbsolutePath::normalise(path).unwrap().as_str().into()
    }

    #[test]
    fn examples() {
        assert_eq!(normal("/"), "/");
        assert_eq!(normal("//"), "/");
        assert_eq!(normal("/a//b/./c/"), "/a/b/c");
        assert_eq!(normal("/a/b/../c"), "/a/c");
        assert_eq!(normal("/../../a"), "/a");
        assert_eq!(normal("/a/.."), "/");
        assert_eq!(normal("/..."), "/...");
    }

    #[test]
    fn refusals() {
        for path in ["", "a", "./a", "/a\0b", "a/"] {
            assert_eq!(AbsolutePath::normalise(path), Err(FileError::InvalidPath), "{path:?}");
        }
        let longest = format!("/{}", "n".repeat(COMPONENT_BYTES_MAX));
        assert!(AbsolutePath::normalise(&longest).is_ok());
        assert_eq!(AbsolutePath::normalise(&format!("{longest}n")), Err(FileError::InvalidPath));
        assert!(AbsolutePath::normalise(&"/".repeat(PATH_BYTES_MAX)).is_ok());
        assert_eq!(AbsolutePath::normalise(&"/".repeat(PATH_BYTES_MAX + 1)), Err(FileError::InvalidPath));
    }

    #[test]
    fn parts() {
        let path = AbsolutePath::normalise("/host/etc/nginx.conf").unwrap();
        let host = AbsolutePath::normalise("/host").unwrap();
        let below = path.relative().below(host.relative()).unwrap();
        assert_eq!(below.as_str(), "etc/nginx.conf");
        assert_eq!(below.name(), "nginx.conf");
        assert_eq!(below.split_last().unwrap().0.as_str(), "etc");
        assert_eq!(host.relative().below(host.relative()), Some(RelativePath::ROOT));
        let hostage = AbsolutePath::normalise("/hostage").unwrap();
        assert_eq!(hostage.relative().below(host.relative()), None);
        assert_eq!(RelativePath::ROOT.name(), "/");
        assert_eq!(RelativePath::ROOT.components().count(), 0);
    }

    /// The definition, by a stack of components: an independent way to the same result.
    fn by_stack(path: &str) -> String {
        let mut stack = Vec::new();
        for component in path.split('/') {
            match component {
                "" | "." => {}
                ".." => drop(stack.pop()),
                name => stack.push(name),
            }
        }
        format!("/{}", stack.join("/"))
    }

    proptest! {
        #[test]
        fn agrees_with_a_stack(path in "(/(\\.|\\.\\.|[ab./]{0,4}|[^/\u{0}]{0,9})){1,20}") {
            prop_assert_eq!(normal(&path), by_stack(&path));
        }

        #[test]
        fn normal_form_holds(path in any::<String>()) {
            if let Ok(normal) = AbsolutePath::normalise(&path) {
                prop_assert!(normal.as_str().starts_with('/'));
                prop_assert!(normal.as_str().len() <= PATH_BYTES_MAX);
                for component in normal.relative().components() {
                    prop_assert!(!matches!(component, "" | "." | ".."));
                    prop_assert!(component.len() <= COMPONENT_BYTES_MAX && !component.contains('\0'));
                }
                prop_assert_eq!(AbsolutePath::normalise(normal.as_str()), Ok(normal));
            }
        }
    }
}
