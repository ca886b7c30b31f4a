//! What a manifest says, and how.
//!
//! A manifest is a blob: the line [`MAGIC`], and then, encoded by [`chinwag_base::codec`] (bincode's standard form:
//! integers of variable length, least significant byte first):
//!
//! | field | type | |
//! |---|---|---|
//! | `height` | `u8` | 0: its children are chunks; else manifests whose height is one less |
//! | `len` | `u64` | bytes of all that is below it |
//! | `children` | list of (32 bytes, `u64`) | of each child the SHA-256 of its blob, and the bytes below it |
//!
//! It is strict. All children but the last are full, which is [`CHUNK_BYTES`] for a chunk and [`CHILDREN_MAX`] times as much
//! with each height above; the last has one byte at least; `len` is their sum. Only an empty file has a manifest without
//! children. An integer has several spellings in that encoding, and only the shortest is taken. So whatever decodes is the
//! one manifest of its file, and a walk is bounded by [`HEIGHT_MAX`].

use super::CHUNK_BYTES;
use crate::dht::BlobHash;
use chinwag_base::codec;
use chinwag_base::limits::RECORD_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// The first line of every manifest.
pub const MAGIC: &[u8] = b"chinwag file 1\n";
/// Children of one manifest: with 41 bytes at most for each, it fits one blob; and files up to a gigabyte have one.
pub const CHILDREN_MAX: usize = 4_096;
/// The greatest height: files of all lengths that a `u64` counts.
pub const HEIGHT_MAX: u8 = 3;

/// What is below one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child {
    /// The name of its blob.
    pub hash: BlobHash,
    /// Bytes of the file below it.
    pub len: u64,
}

/// A node of a file's tree. It is legal: see the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    height: u8,
    len: u64,
    children: Vec<Child>,
}

/// Why a blob is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It does not begin as one.
    #[error("it does not begin with the line of a manifest")]
    Magic,
    /// It does not decode.
    #[error(transparent)]
    Encoding(#[from] codec::DecodeError),
    /// It is not the manifest that any file has.
    #[error("{0}")]
    Shape(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Wire {
    height: u8,
    len: u64,
    children: Vec<([u8; 32], u64)>,
}

/// The most that can be below a child of a manifest of this height.
pub fn full(height: u8) -> u64 {
    (0..height).fold(CHUNK_BYTES as u64, |bytes, _| bytes.saturating_mul(CHILDREN_MAX as u64))
}

impl Manifest {
    /// The manifest of these children.
    ///
    /// # Errors
    /// [`ManifestError::Shape`] if no file has it.
    pub fn new(height: u8, children: Vec<Child>) -> Result<Self, ManifestError> {
        let len = children.iter().try_fold(0u64, |sum, child| sum.checked_add(child.len));
        let len = len.ok_or(ManifestError::Shape("it is longer than any file"))?;
        let full = full(height);
        let Some((last, rest)) = children.split_last() else {
            return match height {
                0 => Ok(Manifest { height, len: 0, children }),
                _ => Err(ManifestError::Shape("it has no children")),
            };
        };
        if height > HEIGHT_MAX {
            return Err(ManifestError::Shape("it is too high"));
        }
        if children.len() > CHILDREN_MAX {
            return Err(ManifestError::Shape("it has too many children"));
        }
        if rest.iter().any(|child| child.len != full) || last.len == 0 || last.len > full {
            return Err(ManifestError::Shape("a child has another length than it must have"));
        }
        Ok(Manifest { height, len, children })
    }

    /// The blob.
    pub fn to_blob(&self) -> Vec<u8> {
        let children = self.children.iter().map(|child| (child.hash.to_bytes(), child.len)).collect();
        let wire = Wire { height: self.height, len: self.len, children };
        [MAGIC, &codec::encode(&wire)].concat()
    }

    /// Reads a blob.
    ///
    /// # Errors
    /// [`ManifestError`]: it is some other blob then.
    pub fn from_blob(blob: &[u8]) -> Result<Self, ManifestError> {
        let body = blob.strip_prefix(MAGIC).ok_or(ManifestError::Magic)?;
        let wire: Wire = codec::decode::<RECORD_BYTES_MAX, _>(body)?;
        let child = |(hash, len)| Child { hash: BlobHash::from_bytes(hash), len };
        let manifest = Manifest::new(wire.height, wire.children.into_iter().map(child).collect())?;
        if manifest.len != wire.len {
            return Err(ManifestError::Shape("its length is not the sum of its children's"));
        }
        // The decoder takes a small integer in a long form too, and one file must not have two hashes.
        if manifest.to_blob() != blob {
            return Err(ManifestError::Shape("it is not written in the shortest form"));
        }
        Ok(manifest)
    }

    /// How many manifests are below it on the way to a chunk.
    pub fn height(&self) -> u8 {
        self.height
    }

    /// Bytes of the file below it.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its children, in the file's order.
    pub fn into_children(self) -> Vec<Child> {
        self.children
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn child(n: u8, len: u64) -> Child {
        Child { hash: BlobHash::from_bytes([n; 32]), len }
    }

    #[test]
    fn the_fullest_manifest_fits_a_blob() {
        for height in 0..HEIGHT_MAX {
            let manifest = Manifest::new(height, vec![child(7, full(height)); CHILDREN_MAX]).unwrap();
            let blob = manifest.to_blob();
            assert!(blob.len() <= RECORD_BYTES_MAX, "{} bytes", blob.len());
            assert_eq!(Manifest::from_blob(&blob), Ok(manifest));
        }
    }

    #[test]
    fn only_the_manifest_that_a_file_has_is_taken() {
        let whole = CHUNK_BYTES as u64;
        assert!(Manifest::new(0, vec![]).unwrap().is_empty());
        assert_eq!(Manifest::new(0, vec![child(1, whole), child(2, 1)]).unwrap().len(), whole + 1);
        for (height, children) in [
            (1, vec![]),
            (0, vec![child(1, 0)]),
            (0, vec![child(1, 5), child(2, whole)]),
            (0, vec![child(1, whole + 1)]),
            (0, vec![child(1, whole); CHILDREN_MAX + 1]),
            (HEIGHT_MAX + 1, vec![child(1, 1)]),
            (HEIGHT_MAX, vec![child(1, full(HEIGHT_MAX)); CHILDREN_MAX]),
        ] {
            let refused = Manifest::new(height, children);
            assert!(matches!(refused, Err(ManifestError::Shape(_))), "{refused:?}");
        }
        let blob = Manifest::new(0, vec![child(1, 5)]).unwrap().to_blob();
        let lying = codec::encode(&Wire { height: 0, len: 6, children: vec![([1; 32], 5)] });
        assert!(Manifest::from_blob(&[MAGIC, &lying].concat()).is_err());
        assert_eq!(Manifest::from_blob(b"chinwag file 2\n"), Err(ManifestError::Magic));
        assert!(Manifest::from_blob(&[&blob[..], b"x"].concat()).is_err(), "nothing follows it");
        assert!(Manifest::from_blob(MAGIC).is_err());
    }

    #[test]
    fn an_integer_in_a_long_form_is_refused() {
        let shortest = Manifest::new(0, vec![child(1, 5)]).unwrap().to_blob();
        let at = MAGIC.len() + 1;
        assert_eq!(shortest[at], 5, "the length of the file");
        let longer = [&shortest[..at], &[251, 5, 0], &shortest[at + 1..]].concat();
        let wire: Wire = codec::decode::<RECORD_BYTES_MAX, _>(&longer[MAGIC.len()..]).unwrap();
        assert_eq!(wire.len, 5, "the decoder takes both");
        assert!(matches!(Manifest::from_blob(&longer), Err(ManifestError::Shape(_))));
    }

    proptest! {
        #[test]
        fn any_blob_is_a_manifest_or_is_not(bytes: Vec<u8>) {
            let blob = [MAGIC, &bytes].concat();
            if let Ok(manifest) = Manifest::from_blob(&blob) {
                // One file, one manifest: what decodes is what would have been written.
                prop_assert_eq!(manifest.to_blob(), blob);
            }
        }
    }
}
