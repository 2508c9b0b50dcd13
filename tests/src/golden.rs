//! What a person sees, compared with what was seen and found good: files in `golden/`.
//!
//! What differs from run to run is replaced by words. `INSTA_UPDATE=always cargo test -p uio-tests` accepts what is new.

use std::path::Path;

use insta::Settings;

/// Pattern and word, in order.
const REPLACEMENTS: [(&str, &str); 12] = [
    (r"\b[0-9a-f]{40}\b", "BUILD-ID"),
    (r"0x[0-9a-f]+", "ADDRESS"),
    (r"\b[0-9a-f]{16}\b", "WORD"),
    (r"\[ *\d+\.\d+\]", "[TIME]"),
    // A slow machine changes units too.
    (r"\b(\d+ m \d\d s|\d+ h \d+ m|\d+ d \d+ h)\b", "TIME"),
    (r"\b\d+(\.\d+)? (ns|µs|ms|s)\b", "TIME"),
    (r"\b\d+(\.\d+)? (B|KiB|MiB|GiB)\b", "SIZE"),
    (r"\b\d+(\.\d+)? GHz\b", "N GHz"),
    (r"\b(key|build) [0-9a-f]+", "$1 K"),
    (r"(/[\w.-]+)+/(extensions|guest|overlay|tests)/", "$2/"),
    // Widths of columns follow what is in them.
    (r"  +", "  "),
    (r"(?m) +$", ""),
];

/// Compares `text` with `golden/NAME.snap`, after `more` and the common replacements.
///
/// # Panics
///
/// With the difference, if there is one.
pub fn assert_golden(name: &str, text: &str, more: &[(&str, &str)]) {
    let mut settings = settings();
    for (pattern, word) in more.iter().chain(&REPLACEMENTS) {
        settings.add_filter(pattern, *word);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Compares `text` with `golden/NAME.snap` as it is.
///
/// # Panics
///
/// With the difference, if there is one.
pub fn assert_golden_text(name: &str, text: &str) {
    settings().bind(|| insta::assert_snapshot!(name, text));
}

fn settings() -> Settings {
    let mut settings = Settings::clone_current();
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("golden"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}
