//! Manifests of files. One file has one manifest: what is accepted is written as the very same bytes, and its children
//! add up.
#![no_main]

use chinwag_api::client::file::manifest::{CHILDREN_MAX, HEIGHT_MAX, MAGIC, Manifest, full};
use chinwag_fuzz::{alloc, assert_allocation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Behind the first line is where it gets interesting.
    for blob in [bytes.to_vec(), [MAGIC, bytes].concat()] {
        let (manifest, held) = alloc::peak(|| Manifest::from_blob(&blob));
        assert_allocation(blob.len(), held);
        let Ok(manifest) = manifest else { continue };
        assert_eq!(manifest.to_blob(), blob);
        let (height, len) = (manifest.height(), manifest.len());
        let children = manifest.into_children();
        assert!(height <= HEIGHT_MAX && children.len() <= CHILDREN_MAX);
        assert_eq!(children.iter().map(|child| child.len).sum::<u64>(), len);
        assert!(children.iter().all(|child| (1..=full(height)).contains(&child.len)));
    }
});
