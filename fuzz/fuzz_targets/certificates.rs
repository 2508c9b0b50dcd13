//! An uploaded package, and a policy file: any bytes. Refused quietly, or admitted as the same bytes again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uio_verifier::certificate::{
    Certificate, Claims, GenerationStore, Package, Policy, Rollback, admit, encode_package,
};

fuzz_target!(|data: &[u8]| {
    let generations = GenerationStore::default();
    // Without a required signature, so that the object behind it is read as well.
    if let Ok(admitted) = admit(data, &Policy::open(), &generations, None, Rollback::Refuse) {
        assert_eq!(admitted.proofs.len(), admitted.object.programs.len());
        assert_eq!(admitted.signed, None);
    }
    if let Ok(package) = Package::parse(data) {
        let proofs: Vec<Vec<u8>> = package.proofs().map(<[u8]>::to_vec).collect();
        let again = encode_package(package.certificate(), package.object(), &proofs).expect("what was parsed fits");
        assert_eq!(again, data);
    }
    let _ = Certificate::parse(data);
    if let Ok(claims) = Claims::decode(data) {
        assert_eq!(claims.encode().as_deref(), Ok(data));
    }
    if let Ok(policy) = Policy::parse(data) {
        // No file makes the guest take what nobody signed, unless it says so.
        let package = encode_package(None, &[], &[]).expect("fits");
        let result = admit(&package, &policy, &GenerationStore::new(&policy), Some(0), Rollback::Allow);
        assert!(result.is_err());
    }
});
