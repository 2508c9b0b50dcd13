//! Limits of certificates, packages and policies. The guest checks each before it allocates for what it bounds.

/// Bytes of a certificate. Sixteen hooks with the longest names and all engines need less than 2 KiB.
pub const CERTIFICATE_BYTES_MAX: usize = 4096;

/// Bytes of a whole package: what an upload may be (`uio_protocol::limits::UPLOAD_BYTES_MAX`).
pub const PACKAGE_BYTES_MAX: usize = uio_protocol::limits::UPLOAD_BYTES_MAX;

/// Programs of one object, so proofs of one package.
pub const PROGRAMS_MAX: usize = 64;

/// Maps of one object.
pub const MAPS_MAX: usize = 256;

/// Hooks that one certificate names.
pub const HOOKS_MAX: usize = 16;

/// Bytes of a hook's name.
pub const HOOK_NAME_BYTES_MAX: usize = 64;

/// Bytes of a tenant's name.
pub const TENANT_BYTES_MAX: usize = 64;

/// Engines that one certificate names. There are two; the rest is for those to come.
pub const ENGINES_MAX: usize = 8;

/// Bytes of an engine's name, and of its version.
pub const ENGINE_TEXT_BYTES_MAX: usize = 32;

/// Bytes of a policy file.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;

/// Keys of a policy: enough to change keys with an overlap for several providers.
pub const POLICY_KEYS_MAX: usize = 64;

/// Lines `allow` and lines `floor` of a policy, each.
pub const POLICY_RULES_MAX: usize = 1024;

/// Pairs of tenant and hook whose generation a guest remembers.
pub const GENERATIONS_MAX: usize = 4096;
