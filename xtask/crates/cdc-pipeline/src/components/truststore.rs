//! The authorities of a source in the form in which connectors read them that take no PEM: a Java key store of type
//! JKS. A JVM's `keytool` is not at hand on every machine.
//!
//! The format is that of the JDK's `sun.security.provider.JavaKeyStore`: a head, entries, and a digest over both that
//! begins with a password. Nothing in it is secret: the password is the one that Java's own store has, and whoever
//! names none reads it unchecked.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha1::{Digest, Sha1};

use crate::endpoint::Tls;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::files::write_if_changed;
use crate::plan::{Outcome, Plan};
use crate::platform::Platform;

/// What it is called beside the connectors' password.
pub(super) const FILE: &str = "ca.jks";

const PASSWORD: &str = "changeit";
const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;

/// Adds the step that writes it beside the password of a component's connectors, where they run on this machine; on
/// clusters it is in the workers' Secret. Returns what its connectors wait for.
pub(super) fn step(
    plan: &mut Plan,
    env: &Arc<Environment>,
    name: &str,
    tls: &Tls,
) -> Option<String> {
    if env.platform != Platform::Host || *tls == Tls::Disable {
        return None;
    }
    let (at, own) = (env.clone(), name.to_owned());
    let step = format!("{name}/authorities");
    plan.step(
        &step,
        "the authorities for the connector",
        &[],
        async move |_| write(&at, &own),
    );
    Some(step)
}

fn write(env: &Environment, name: &str) -> Result<Outcome> {
    let Some(component) = env.profile.component(name) else {
        return Ok(Outcome::Unchanged("it is not there".into()));
    };
    let Some(pem) = env.authority_of(component)? else {
        return Ok(Outcome::Unchanged("no certificate is checked".into()));
    };
    let path = Path::new(&env.connector_password_dir(component)).join(FILE);
    Ok(match write_if_changed(&path, &of(&pem)?, 0o600)? {
        true => Outcome::Changed(format!("wrote {}", path.display())),
        false => Outcome::Unchanged("they are there".into()),
    })
}

/// Makes one of certificates in PEM. The same certificates give the same bytes.
///
/// # Errors
/// The text is malformed.
pub(super) fn of(pem: &str) -> Result<Vec<u8>> {
    let certificates: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| {
            let what = format!("the authorities' certificates are malformed: {error}");
            Error::new(Code::ProfileInvalid, what)
        })?;
    Ok(store(&certificates, 0))
}

/// `added` is when, in milliseconds since 1970: nobody asks.
fn store(certificates: &[CertificateDer<'_>], added: u64) -> Vec<u8> {
    let mut store = Vec::new();
    for number in [MAGIC, VERSION, length(certificates.len())] {
        store.extend(number.to_be_bytes());
    }
    for (at, certificate) in certificates.iter().enumerate() {
        store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        text(&mut store, &format!("authority-{at}"));
        store.extend(added.to_be_bytes());
        text(&mut store, "X.509");
        store.extend(length(certificate.len()).to_be_bytes());
        store.extend_from_slice(certificate);
    }
    let mut digest = Sha1::new();
    for unit in PASSWORD.encode_utf16() {
        digest.update(unit.to_be_bytes());
    }
    digest.update(b"Mighty Aphrodite");
    digest.update(&store);
    store.extend(digest.finalize());
    store
}

/// As Java's `writeUTF`, for ASCII.
fn text(store: &mut Vec<u8>, text: &str) {
    let bytes = u16::try_from(text.len()).unwrap_or_default();
    store.extend(bytes.to_be_bytes());
    store.extend_from_slice(text.as_bytes());
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// An authority of this test's, made once with OpenSSL 3.
    const PEM: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBiDCCAS+gAwIBAgIUbfiQN3Bg6uKqaBi3XqAg5fUm44UwCgYIKoZIzj0EAwIw\n\
GTEXMBUGA1UEAwwOc2hvcCBhdXRob3JpdHkwIBcNMjYxMjAxMDIwNjU4WhgPMjEy\n\
NjExMDcwMjA2NThaMBkxFzAVBgNVBAMMDnNob3AgYXV0aG9yaXR5MFkwEwYHKoZI\n\
zj0CAQYIKoZIzj0DAQcDQgAEUA8TDBf3GGGCC2Ge8AU6vZHf1g3iBEADX4c0R1+X\n\
sb8k+jXTojozUIdUJ8mF86i/Njg8+Yw1kONGqbp0kxS5EKNTMFEwHQYDVR0OBBYE\n\
FP2apYXtIP9Oi6z0a5AiFOGwBBgAMB8GA1UdIwQYMBaAFP2apYXtIP9Oi6z0a5Ai\n\
FOGwBBgAMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgfmW8YW8S\n\
OoAdqwE37q9qnMNLuzL1M1ADc4ouek8t3NYCIDYeXeIyIS6jrcGSKEh4M7a6xCq9\n\
n5cgCVCFZFlh6WQk\n\
-----END CERTIFICATE-----\n";

    /// What `keytool` of JDK 17 made of it.
    const JKS: &str = "\
        /u3+7QAAAAIAAAABAAAAAgALYXV0aG9yaXR5LTAAAAGiL1r1CQAFWC41MDkAAAGMMIIBiDCCAS+gAwIBAgIUbfiQN3Bg6uKq\
        aBi3XqAg5fUm44UwCgYIKoZIzj0EAwIwGTEXMBUGA1UEAwwOc2hvcCBhdXRob3JpdHkwIBcNMjYxMjAxMDIwNjU4WhgPMjEy\
        NjExMDcwMjA2NThaMBkxFzAVBgNVBAMMDnNob3AgYXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEUA8TDBf3\
        GGGCC2Ge8AU6vZHf1g3iBEADX4c0R1+Xsb8k+jXTojozUIdUJ8mF86i/Njg8+Yw1kONGqbp0kxS5EKNTMFEwHQYDVR0OBBYE\
        FP2apYXtIP9Oi6z0a5AiFOGwBBgAMB8GA1UdIwQYMBaAFP2apYXtIP9Oi6z0a5AiFOGwBBgAMA8GA1UdEwEB/wQFMAMBAf8w\
        CgYIKoZIzj0EAwIDRwAwRAIgfmW8YW8SOoAdqwE37q9qnMNLuzL1M1ADc4ouek8t3NYCIDYeXeIyIS6jrcGSKEh4M7a6xCq9\
        n5cgCVCFZFlh6WQkuBTOAPO7GDp7bLt4Teirhn/zY4M=";

    #[test]
    fn it_is_what_keytool_makes() {
        let theirs = STANDARD.decode(JKS);
        let theirs = theirs.expect("base64");
        let at = 12 + 4 + 2 + "authority-0".len();
        let added = u64::from_be_bytes(theirs[at..at + 8].try_into().expect("eight bytes"));
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(PEM.as_bytes())
            .collect::<std::result::Result<_, _>>()
            .expect("a certificate");
        assert_eq!(store(&certificates, added), theirs);
        let mut undated = of(PEM).expect("a store");
        undated.truncate(at);
        assert_eq!(undated, theirs[..at]);
    }

    #[test]
    fn malformed_certificates_are_an_error() {
        let broken = "-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n";
        assert!(of(broken).is_err());
    }
}
