//! Sorts symbols by name.
//!
//! A heap sort of its own, because each instance of the standard library's sort takes some 15 KiB of the guest's
//! image, and the whole overlay is to fit in 64.

use uio_protocol::image::ExtensionImage;

/// Sorts indices into the image's symbols by the symbols' names, in O(n log n) steps for any input.
///
/// # Panics
///
/// If an index is not one of a symbol.
pub(crate) fn sort_by_name(indices: &mut [u32], image: &ExtensionImage) {
    let before =
        |left: u32, right: u32| image.symbols[left as usize].name < image.symbols[right as usize].name;
    for root in (0..indices.len() / 2).rev() {
        sift_down(indices, root, before);
    }
    for end in (1..indices.len()).rev() {
        indices.swap(0, end);
        sift_down(&mut indices[..end], 0, before);
    }
}

/// Moves the element at `root` down until no child is greater.
fn sift_down(heap: &mut [u32], mut root: usize, before: impl Fn(u32, u32) -> bool) {
    loop {
        let mut child = 2 * root + 1;
        if child >= heap.len() {
            return;
        }
        if child + 1 < heap.len() && before(heap[child], heap[child + 1]) {
            child += 1;
        }
        if !before(heap[root], heap[child]) {
            return;
        }
        heap.swap(root, child);
        root = child;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use uio_protocol::image::{Binding, Definition, Symbol};

    proptest! {
        #[test]
        fn sorts_as_the_standard_library_does(names in prop::collection::vec("[a-c]{0,3}", 0..50)) {
            let symbol = |name: &String| Symbol {
                name: name.clone(),
                definition: Definition::Absolute(0),
                binding: Binding::Global,
                function: false,
                size: 0,
            };
            let image = ExtensionImage {
                name: String::new(),
                sections: Vec::new(),
                symbols: names.iter().map(symbol).collect(),
                relocations: Vec::new(),
            };
            let mut indices: Vec<u32> = (0u32..).take(names.len()).collect();
            sort_by_name(&mut indices, &image);
            let sorted: Vec<&String> = indices.iter().map(|index| &names[*index as usize]).collect();
            let mut expected: Vec<&String> = names.iter().collect();
            expected.sort();
            prop_assert_eq!(sorted, expected);
            indices.sort_unstable();
            prop_assert!(indices.into_iter().eq((0u32..).take(names.len())));
        }
    }
}
